# MPRNet for deblurring on GoPro, as published (Zamir et al., CVPR 2021): 3,000 epochs of 2,103 pairs in batches of 16.
#
#   python -m lmdb_tools.gopro --source datasets/GoPro --output datasets/GoPro_lmdb
#   python scripts/mmengine_train.py mprnet_deblur_gopro.py
#   python scripts/mmengine_test.py mprnet_deblur_gopro.py work_dirs/mprnet_deblur_gopro/iter_396000.pth
#   torchrun --nproc_per_node=8 scripts/mmengine_train.py mprnet_deblur_gopro.py --launcher pytorch \
#       --cfg-options train_dataloader.batch_size=2
#
# Add --resume to continue a run, --cfg-options train_cfg.max_iters=1000 to change an option for one run.
# The same recipe for BasicSR: train_MPRNet_Deblur.yml.
_base_ = ["./_base_/runtime.py"]

model = dict(
    type="MPRNetRestorer",
    generator=dict(type="MPRNet", n_feat=96, scale_unetfeats=48, scale_orsnetfeats=32),
    # Summed over the three stages. The eps is not squared: the paper's 1e-3 is 1e-6.
    pixel_loss=dict(type="CharbonnierLoss", loss_weight=1.0, reduction="mean", eps=1e-6),
    edge_loss=dict(type="EdgeLoss", loss_weight=0.05),
    data_preprocessor=dict(type="RestorationPreprocessor"),
    micro_batch_size=2,  # samples in memory at once; the result is the same
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
        name="GoPro",
        dataroot_lq="datasets/GoPro_lmdb/train_input.lmdb",
        dataroot_gt="datasets/GoPro_lmdb/train_target.lmdb",
        gt_size=256,
        augment="geometric_saturation",
        dtype="uint8",  # converted on the device, a quarter of the bytes to move
    ),
)
# 3,000 epochs of 132 iterations; validation every 20.
train_cfg = dict(type="ResumableTrainLoop", max_iters=396000, val_interval=2640)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="Adam", lr=2e-4, betas=(0.9, 0.999), eps=1e-8),
    # clip_grad=dict(max_norm=0.01),  # what the authors advise where the loss explodes
)
param_scheduler = dict(  # three epochs of warm-up, then a cosine; constant within an epoch, as published
    type="WarmupCosineLR",
    warmup_epochs=3,
    cosine_epochs="auto",  # to max_iters: 2,997 as published
    iters_per_epoch="auto",  # from data and batch: 132 with GoPro's 2,103 pairs
    eta_min=1e-6,
    per_epoch=True,
)

val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PairedRestorationDataset",
        name="GoPro-test-crop",
        phase="val",
        dataroot_lq="datasets/GoPro_lmdb/test_input.lmdb",
        dataroot_gt="datasets/GoPro_lmdb/test_target.lmdb",
        center_crop=256,  # leave out to validate on whole pictures
        dtype="uint8",
    ),
)
val_evaluator = dict(type="RestorationMetric", protocol="gopro")
default_hooks = dict(
    checkpoint=dict(interval=2640, save_best="GoPro-test-crop/psnr", rule="greater"),
)

test_dataloader = [
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="GoPro",
            phase="test",
            dataroot_lq="datasets/GoPro/test/input",
            dataroot_gt="datasets/GoPro/test/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="HIDE",
            phase="test",
            dataroot_lq="datasets/HIDE/test/input",
            dataroot_gt="datasets/HIDE/test/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="RealBlur-J",
            phase="test",
            dataroot_lq="datasets/RealBlur_J/test/input",
            dataroot_gt="datasets/RealBlur_J/test/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="RealBlur-R",
            phase="test",
            dataroot_lq="datasets/RealBlur_R/test/input",
            dataroot_gt="datasets/RealBlur_R/test/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
]
test_evaluator = [
    dict(type="RestorationMetric", protocol="gopro"),
    dict(type="RestorationMetric", protocol="gopro"),
    dict(type="RestorationMetric", protocol="realblur"),
    dict(type="RestorationMetric", protocol="realblur"),
]
