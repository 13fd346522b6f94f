# Kinetics-400 validation as VideoMAE evaluates it: 5 clips x 3 crops of 16 frames, stride 4, 224.
_base_ = 'kinetics400.py'
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videomae_k400', num_clips=5, stride=4),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=224, num_crops=3),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
