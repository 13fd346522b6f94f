# Kinetics-400 for fine-tuning VideoMAE: 16 frames, stride 4, from anywhere; RandAugment, crops and flips
# of each clip, twice. Between epochs one view of each validation video is looked at.
train_pipeline = [
    dict(type='OpenVideo'),
    dict(type='SampleFrames', clip_len=16, frame_interval=4, out_of_bound_opt='repeat_last'),
    dict(type='DecodeFrames'),
    dict(
        type='RepeatedAugmentation',
        num_repeats=2,
        transforms=[
            dict(type='ClipRandAugment', magnitude=9, magnitude_std=0.5, num_ops=2, prob=0.5),
            dict(type='RandomResizedCrop'),
            dict(type='Resize', scale=(224, 224), keep_ratio=False),
            dict(type='Flip', flip_ratio=0.5),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
    ),
]
val_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videomae_k400', num_clips=1, stride=4),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=224, num_crops=1),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    collate_fn=dict(type='repeat_pseudo_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoListDataset',
        ann_file='{{ fileDirname }}/../../../data/kinetics400/kinetics400_train_list_videos.txt',
        data_prefix=dict(video='{{ fileDirname }}/../../../data/kinetics400/videos_train'),
        num_classes=400,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoListDataset',
        ann_file='{{ fileDirname }}/../../../data/kinetics400/kinetics400_val_list_videos.txt',
        data_prefix=dict(video='{{ fileDirname }}/../../../data/kinetics400/videos_val'),
        num_classes=400,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
