# The embedded data set, augmented as Kinetics-400 is for fine-tuning VideoMAE. Mirroring changes the class
# here: MotionSymmetry, which changes the label too, takes the place of flips.
_base_ = 'motions.py'
train_pipeline = [
    dict(type='OpenVideo'),
    dict(type='UniformSample', clip_len=16),
    dict(type='DecodeFrames'),
    dict(
        type='RepeatedAugmentation',
        num_repeats=2,
        transforms=[
            dict(type='ClipRandAugment', magnitude=9, magnitude_std=0.5, num_ops=2, prob=0.5),
            dict(type='RandomCrop', size=96),
            dict(type='MotionSymmetry'),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
    ),
]
train_dataloader = dict(
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(max_videos=4000, pipeline=train_pipeline),
)
