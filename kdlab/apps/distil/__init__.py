"""For who has photographs and a model of their own: does distillation pay there?"""
