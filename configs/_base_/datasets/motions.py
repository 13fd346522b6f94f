# The embedded data set of ten motions (docs/motions.md): 112 x 112 clips of 28 to 40 frames.
dataset_type = 'VideoListDataset'
data_root = '{{ fileDirname }}/../../../data/motions'
train_pipeline = [
    dict(type='OpenVideo'),
    dict(type='UniformSample', clip_len=16),
    dict(type='DecodeFrames'),
    dict(type='RandomCrop', size=96),
    dict(type='MotionSymmetry'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='UniformSample', clip_len=16, test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='CenterCrop', crop_size=96),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + '/train.txt',
        data_prefix=dict(video=data_root),
        num_classes=10,
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + '/val.txt',
        data_prefix=dict(video=data_root),
        num_classes=10,
        classes=data_root + '/classes.txt',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_dataloader = test_dataloader
