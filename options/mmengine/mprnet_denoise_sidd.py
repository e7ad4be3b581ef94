# MPRNet for denoising on SIDD, as published (Zamir et al., CVPR 2021): 80 epochs of 96,000 patches in batches of 16.
#
#   python -m lmdb_tools.sidd --source datasets/SIDD --output datasets/SIDD_lmdb --random-patches 300
#   python scripts/mmengine_train.py mprnet_denoise_sidd.py
#   python scripts/mmengine_test.py mprnet_denoise_sidd.py work_dirs/mprnet_denoise_sidd/iter_480000.pth
#   torchrun --nproc_per_node=8 scripts/mmengine_train.py mprnet_denoise_sidd.py --launcher pytorch \
#       --cfg-options train_dataloader.batch_size=2
#
# Add --resume to continue a run, --cfg-options train_cfg.max_iters=1000 to change an option for one run.
# The same recipe for BasicSR: train_MPRNet_Denoise.yml.
_base_ = ["./_base_/runtime.py"]

model = dict(
    type="MPRNetRestorer",
    generator=dict(type="MPRNet", n_feat=80, scale_unetfeats=48, scale_orsnetfeats=32),
    # Summed over the three stages. The eps is not squared: the paper's 1e-3 is 1e-6.
    pixel_loss=dict(type="CharbonnierLoss", loss_weight=1.0, reduction="mean", eps=1e-6),
    clamp_output=True,  # losses see outputs clamped to [0, 1]
    mixup=dict(alpha=0.6, start_iter=30001),  # the sixth epoch's first
    data_preprocessor=dict(type="RestorationPreprocessor"),
    micro_batch_size=16,  # samples in memory at once; the result is the same
    precision="fp32",  # bf16 (--amp) is faster on recent GPUs
)
tta_model = dict(type="SelfEnsemble")

train_dataloader = dict(
    batch_size=16,  # of one process: the recipe's 16 are those of one step over all processes
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="EndlessSampler"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="PairedRestorationDataset",
        name="SIDD",
        dataroot_lq="datasets/SIDD_lmdb/train_input.lmdb",
        dataroot_gt="datasets/SIDD_lmdb/train_target.lmdb",
        gt_size=128,
        augment="geometric",
        dtype="uint8",  # converted on the device, a quarter of the bytes to move
    ),
)
# 80 epochs of 6,000 iterations; validation three times an epoch.
train_cfg = dict(type="ResumableTrainLoop", max_iters=480000, val_interval=2000)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="Adam", lr=2e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-8),
    # clip_grad=dict(max_norm=0.01),  # what the authors advise where the loss explodes
)
param_scheduler = dict(  # three epochs of warm-up, then a cosine; constant within an epoch, as published
    type="WarmupCosineLR",
    warmup_epochs=3,
    cosine_epochs=117,  # as published, 37 more than the run has; "auto": to max_iters
    iters_per_epoch="auto",  # from data and batch: 6,000 with 96,000 patches
    eta_min=1e-6,
    per_epoch=True,
)

val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PairedRestorationDataset",
        name="SIDD-val",
        phase="val",
        dataroot_lq="datasets/SIDD_lmdb/val_input.lmdb",
        dataroot_gt="datasets/SIDD_lmdb/val_target.lmdb",
        center_crop=256,  # leave out to validate on whole pictures
        dtype="uint8",
    ),
)
val_evaluator = dict(type="RestorationMetric", protocol="sidd")
default_hooks = dict(
    checkpoint=dict(interval=2000, save_best="SIDD-val/psnr", rule="greater"),
)

test_dataloader = [
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="SIDDBlocksDataset",
            name="SIDD",
            dataroot_lq="datasets/SIDD/ValidationNoisyBlocksSrgb.mat",
            dataroot_gt="datasets/SIDD/ValidationGtBlocksSrgb.mat",
        ),
    ),
]
test_evaluator = [
    dict(type="RestorationMetric", protocol="sidd"),
]
