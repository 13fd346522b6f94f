# What every config shares: our modules, the host's scope, how runs behave.
custom_imports = dict(
    imports=[
        'sta.models',
        'sta.datasets.motions.symmetry',
        'sta.datasets.augmentation',
        'sta.datasets.transforms',
        'sta.datasets.video_list',
        'sta.engine',
    ]
)
default_scope = 'mmaction'
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# mmaction2's inferencer takes the names of classes to its visualizer.
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
load_from = None
resume = False
randomness = dict(seed=0)
