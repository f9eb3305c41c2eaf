"""One line under an exercise: does my function do what it should?

Each check calls yours on a few inputs beside the right answer. It prints one line when all is well,
or raises an AssertionError with a hint; a stub (NotImplementedError) is "not done yet".
"""

from kdlab.show.checks.exercise import EXERCISES
from kdlab.show.checks.objectives import (
    check_attention_map,
    check_decoupled_loss,
    check_distillation_loss,
    check_entropy,
    check_jensen_shannon,
    check_mass_matching_shift,
    check_sequence_kl,
    check_soft_gradient,
    check_soft_target_loss,
    check_soften,
)
from kdlab.show.checks.practice import (
    check_best_within,
    check_chance_of_luck,
    check_cka,
    check_diagnose,
    check_download_seconds,
    check_fgsm,
    check_gap_closed,
    check_honest_gain,
    check_latency_summary,
    check_tar_at_far,
    check_teacher_passes,
    check_threshold,
    check_verdict,
    check_waits,
)
