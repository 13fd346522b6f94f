# VideoSwin-B with STA, 32 x 224 x 224. T and S change the architecture.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='STASwinTransformer3D',
        arch='base',
        patch_size=(2, 4, 4),
        window_size=(8, 7, 7),
        drop_path_rate=0.3,
        num_frames=32,
        img_size=224,
    ),
    cls_head=dict(
        type='LinearHead',
        num_classes=400,
        in_channels=1024,
        dropout_ratio=0.5,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
)
# One pass over the data evaluates every pruner at every schedule (tokens dropped per frame: r1,
# 3 r1 / 8 and r1 / 8 behind the three patch mergings).
test_cfg = dict(
    type='VariantTestLoop',
    schedules=[0, 192, 256, 320],
    pruners=[dict(type='STAPruner', similarity='key', score='product')],
)
test_evaluator = []
