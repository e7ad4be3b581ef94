#!/usr/bin/env bash
# Everything that is to be measured and tried where there is an NVIDIA GPU. Nothing of it has run yet: none was to be had.
#
#   bash scripts/benchmarks/gpu.sh [FOLDER FOR RESULTS]
#
# Eager fp32 is exact on both sides: TF32 is off for our fp32, and cuDNN does not time its kernels (benchmark is off).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3}
results=${1:-gpu_results}
mkdir -p "$results"
nvidia-smi >"$results/machine.txt"

# Inference at 1280 x 720: ours in each precision, and spandrel's network; seconds and peak memory.
for task in Deblurring Denoising Deraining; do
    NVIDIA_TF32_OVERRIDE=0 "$python" scripts/benchmarks/bench_inference.py --device cuda --task "$task" --size 256x256 1280x720 \
        --tile 0 --precision fp32 fp16 bf16 --repeats 10 --peer | tee "$results/inference_$task.jsonl"
done

# Forward and backward at the recipes' patch sizes, beside the same.
for sizes in "Deblurring 256" "Denoising 128" "Deraining 256"; do
    read -r task size <<<"$sizes"
    NVIDIA_TF32_OVERRIDE=0 "$python" scripts/benchmarks/bench_network.py --device cuda --preset "$task" --sizes "$size" --repeats 10 \
        --output "$results/network_$task.json"
done

# A training step at the recipes' patch sizes with each option, compiled too, and what the host adds to it.
for sizes in "Deblurring 4 256" "Denoising 16 128" "Deraining 8 256"; do
    read -r task batch patch <<<"$sizes"
    "$python" scripts/benchmarks/bench_training.py --device cuda --preset "$task" --batch "$batch" --patch "$patch" --steps 20 \
        --method peer fp32 channels_last checkpointing bf16 "bf16 channels_last" "bf16 channels_last checkpointing" \
        "fp16 channels_last" compile "bf16 channels_last compile" --json "$results/training_$task.json"
done
"$python" scripts/benchmarks/bench_overhead.py --work "$results/overhead" --batch 8 --patch 256 | tee "$results/overhead.txt"

# The whole test suite, and a run of one process by NCCL on what the quickstart has made.
bash scripts/quickstart.sh
"$python" -m pytest 2>&1 | tee "$results/tests.txt"
"$python" -m torch.distributed.run --standalone --nproc_per_node=1 -m basicsr.train -opt options/quickstart_derain.yml \
    --launcher pytorch 2>&1 | tee "$results/nccl.txt"

# Pictures shared out over all GPUs.
"$python" -m torch.distributed.run --standalone --nproc_per_node=gpu -m mprnet_plugin.inference docs \
    --task deblur --overwrite --output_path "$results/restored" 2>&1 | tee "$results/restore.txt"
