# What every config shares: hooks, logs, pictures, processes.

custom_imports = dict(imports=["mprnet_plugin.hosts.mmengine"], allow_failed_imports=False)
default_scope = "mprnet"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=100),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2000, max_keep_ckpts=3, save_last=True),
)
custom_hooks = [
    dict(type="RestorationHook"),  # checkpoints of plain data, from which a run resumes safely
    dict(type="PicturesHook", images=4),  # before and after, in the visualizer's backends
    # dict(type="EMAHook", momentum=0.001),  # a moving average of the weights, which is then what is validated
]
log_processor = dict(by_epoch=False, window_size=1)
log_level = "INFO"
visualizer = dict(
    type="Visualizer",
    vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
)

env_cfg = dict(cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork"), dist_cfg=dict(backend="nccl"))
model_wrapper_cfg = dict(type="mprnet.DistributedRestorer", broadcast_buffers=False)
randomness = dict(seed=1234)

val_cfg = dict(type="ValLoop")
test_cfg = dict(type="MultiTestLoop")
load_from = None  # weights to start from: mprnet://Deblurring, or any file, ours, BasicSR's or the authors'
