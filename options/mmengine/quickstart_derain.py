# A small MPRNet that learns to take rain out of photographs in minutes on two CPU cores:
# bash scripts/quickstart.sh --task derain --host mmengine runs it.
#
#   python scripts/make_demo_data.py --tasks derain
#   python -m lmdb_tools.rain13k --source datasets/Synthetic_Rain_Datasets \
#       --output datasets/Synthetic_Rain_Datasets_lmdb
#   python scripts/mmengine_train.py quickstart_derain.py
_base_ = ["./_base_/runtime.py"]

model = dict(
    type="MPRNetRestorer",
    # Small; the paper's networks are in mprnet_*.py.
    generator=dict(type="MPRNet", n_feat=16, scale_unetfeats=8, scale_orsnetfeats=8, num_cab=2),
    pixel_loss=dict(type="CharbonnierLoss", loss_weight=1.0, reduction="mean", eps=1e-2),
    edge_loss=dict(type="EdgeLoss", loss_weight=0.05),
)
tta_model = dict(type="SelfEnsemble")

train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # on two cores, a process that loads takes its time from the one that trains
    sampler=dict(type="EndlessSampler"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="PairedRestorationDataset",
        name="Rain-demo",
        dataroot_lq="datasets/Synthetic_Rain_Datasets_lmdb/train_input.lmdb",
        dataroot_gt="datasets/Synthetic_Rain_Datasets_lmdb/train_target.lmdb",
        gt_size=64,
        augment="geometric",
        dtype="uint8",
    ),
)
train_cfg = dict(type="ResumableTrainLoop", max_iters=480, val_interval=240)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=2e-3, betas=(0.9, 0.999)))
param_scheduler = dict(  # 30 iterations to warm up, then a cosine to the end
    type="WarmupCosineLR",
    warmup_epochs=1,
    cosine_epochs="auto",  # to max_iters
    iters_per_epoch=30,
    eta_min=2e-5,
    per_epoch=False,
)

val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PairedRestorationDataset",
        name="Rain-demo",
        phase="val",
        dataroot_lq="datasets/Synthetic_Rain_Datasets_lmdb/Test100_input.lmdb",
        dataroot_gt="datasets/Synthetic_Rain_Datasets_lmdb/Test100_target.lmdb",
        center_crop=128,  # to watch; the test scores whole pictures
        dtype="uint8",
    ),
)
val_evaluator = dict(type="RestorationMetric", protocol="gopro")
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=240, save_best="Rain-demo/psnr", rule="greater")
)

test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PairedRestorationDataset",
        name="Rain-demo",
        phase="test",
        dataroot_lq="datasets/Synthetic_Rain_Datasets_lmdb/Test100_input.lmdb",
        dataroot_gt="datasets/Synthetic_Rain_Datasets_lmdb/Test100_target.lmdb",
        dtype="uint8",
    ),
)
test_evaluator = dict(type="RestorationMetric", protocol="gopro")
