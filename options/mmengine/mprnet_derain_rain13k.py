# MPRNet for deraining on Rain13k, as published (Zamir et al., CVPR 2021): 250 epochs of 13,712 pairs in batches of 16.
#
#   python -m lmdb_tools.rain13k --source datasets/Synthetic_Rain_Datasets --output datasets/Rain13k_lmdb
#   python scripts/mmengine_train.py mprnet_derain_rain13k.py
#   python scripts/mmengine_test.py mprnet_derain_rain13k.py work_dirs/mprnet_derain_rain13k/iter_214250.pth
#   torchrun --nproc_per_node=8 scripts/mmengine_train.py mprnet_derain_rain13k.py --launcher pytorch \
#       --cfg-options train_dataloader.batch_size=2
#
# Add --resume to continue a run, --cfg-options train_cfg.max_iters=1000 to change an option for one run.
# The same recipe for BasicSR: train_MPRNet_Derain.yml.
_base_ = ["./_base_/runtime.py"]

model = dict(
    type="MPRNetRestorer",
    generator=dict(type="MPRNet", n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16),
    # Summed over the three stages. The eps is not squared: the paper's 1e-3 is 1e-6.
    pixel_loss=dict(type="CharbonnierLoss", loss_weight=1.0, reduction="mean", eps=1e-6),
    edge_loss=dict(type="EdgeLoss", loss_weight=0.05),
    data_preprocessor=dict(type="RestorationPreprocessor"),
    micro_batch_size=8,  # samples in memory at once; the result is the same
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
        name="Rain13k",
        dataroot_lq="datasets/Rain13k_lmdb/train_input.lmdb",
        dataroot_gt="datasets/Rain13k_lmdb/train_target.lmdb",
        gt_size=256,
        augment="geometric",
        dtype="uint8",  # converted on the device, a quarter of the bytes to move
    ),
)
# 250 epochs of 857 iterations; validation every 5.
train_cfg = dict(type="ResumableTrainLoop", max_iters=214250, val_interval=4285)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="Adam", lr=2e-4, betas=(0.9, 0.999), eps=1e-8),
    # clip_grad=dict(max_norm=0.01),  # what the authors advise where the loss explodes
)
param_scheduler = dict(  # three epochs of warm-up, then a cosine; constant within an epoch, as published
    type="WarmupCosineLR",
    warmup_epochs=3,
    cosine_epochs="auto",  # to max_iters: 247 as published
    iters_per_epoch="auto",  # from data and batch: 857 with Rain13k's 13,712 pairs
    eta_min=1e-6,
    per_epoch=True,
)

val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PairedRestorationDataset",
        name="Rain100L-crop",
        phase="val",
        dataroot_lq="datasets/Rain13k_lmdb/Rain100L_input.lmdb",
        dataroot_gt="datasets/Rain13k_lmdb/Rain100L_target.lmdb",
        center_crop=128,  # leave out to validate on whole pictures
        dtype="uint8",
    ),
)
val_evaluator = dict(type="RestorationMetric", protocol="rain")
default_hooks = dict(
    checkpoint=dict(interval=4285, save_best="Rain100L-crop/psnr", rule="greater"),
)

test_dataloader = [
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="Test100",
            phase="test",
            dataroot_lq="datasets/Synthetic_Rain_Datasets/test/Test100/input",
            dataroot_gt="datasets/Synthetic_Rain_Datasets/test/Test100/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="Rain100H",
            phase="test",
            dataroot_lq="datasets/Synthetic_Rain_Datasets/test/Rain100H/input",
            dataroot_gt="datasets/Synthetic_Rain_Datasets/test/Rain100H/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="Rain100L",
            phase="test",
            dataroot_lq="datasets/Synthetic_Rain_Datasets/test/Rain100L/input",
            dataroot_gt="datasets/Synthetic_Rain_Datasets/test/Rain100L/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="Test2800",
            phase="test",
            dataroot_lq="datasets/Synthetic_Rain_Datasets/test/Test2800/input",
            dataroot_gt="datasets/Synthetic_Rain_Datasets/test/Test2800/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="PairedRestorationDataset",
            name="Test1200",
            phase="test",
            dataroot_lq="datasets/Synthetic_Rain_Datasets/test/Test1200/input",
            dataroot_gt="datasets/Synthetic_Rain_Datasets/test/Test1200/target",
            optional=True,  # left out where it is not on the disk
        ),
    ),
]
test_evaluator = [
    dict(type="RestorationMetric", protocol="rain"),
    dict(type="RestorationMetric", protocol="rain"),
    dict(type="RestorationMetric", protocol="rain"),
    dict(type="RestorationMetric", protocol="rain"),
    dict(type="RestorationMetric", protocol="rain"),
]
