# Fine-tuning on a small set: AdamW, 25 steps of warm-up, cosine to the last epoch. The learning rate is for the
# batches of 8 videos that tools/prepare_custom.py writes: change both together.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=5)
val_cfg = dict(type='SoundVideosValLoop')
val_evaluator = dict(type='AccMetric', metric_list=('top_k_accuracy', 'mean_class_accuracy'))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
# The rate is their product, and cosine ends with the training, however many epochs it has.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=25),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, convert_to_iter_based=True),
]
