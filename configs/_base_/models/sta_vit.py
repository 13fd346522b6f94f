# VideoMAE ViT-B with STA, 16 x 224 x 224. S, L and H change width, depth and heads.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='STAVisionTransformer',
        img_size=224,
        patch_size=16,
        embed_dims=768,
        depth=12,
        num_heads=12,
        mlp_ratio=4,
        num_frames=16,
        tubelet_size=2,
        norm_cfg=dict(type='LN', eps=1e-6),
    ),
    cls_head=dict(type='LinearHead', num_classes=400, in_channels=768, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
)
# One pass over the data evaluates every pruner at every schedule (tokens dropped per chunk).
test_cfg = dict(
    type='VariantTestLoop',
    schedules=[0, 32, 48, 64],
    pruners=[dict(type='STAPruner', first_frame='tome', similarity='key', score='product')],
)
test_evaluator = []
