"""The distillation losses as pure functions of tensors, a file a family (`kdlab.robust` has more).

Notation: B images, K classes, student logits z, teacher logits v, temperature T,
q = softmax(z / T) the softened student, p = softmax(v / T) the soft targets.
All losses are computed in float32, whatever the dtype of the inputs, and are means over the batch.
The teacher never gets a gradient.
"""

from kdlab.losses.controls import permute_dark_knowledge, same_entropy_smoothing
from kdlab.losses.features import (
    attention_map,
    attention_transfer_loss,
    fsp_loss,
    fsp_matrix,
    hint_loss,
)
from kdlab.losses.logits import (
    decoupled_loss,
    dist_loss,
    hard_distillation_loss,
    jensen_shannon_loss,
    logit_matching_loss,
    mixture_loss,
    mutual_loss,
    non_target_divergence,
    standardise,
    standardised_loss,
    target_divergence,
)
from kdlab.losses.relations import (
    contrastive_loss,
    pkt_loss,
    rkd_angle_loss,
    rkd_distance_loss,
    similarity_preserving_loss,
    view_similarity_loss,
)
from kdlab.losses.soft import (
    check_labels,
    check_same_shape,
    distillation_loss,
    entropy,
    log_soften,
    soft_divergence,
    soft_target_loss,
    soften,
)
