# Restoring pictures in a container, on the CPU; docs/docker.md says how to use it.
#
#   docker build --tag mprnet .
#   docker run --rm --volume "$PWD:/pictures" --user "$(id -u):$(id -g)" mprnet photo.jpg
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# Address of another package index for torch and torchvision alone, such as PyTorch's own of builds for CPUs.
ARG TORCH_INDEX=
ARG EXTRAS=hub,heic
ENV PATH=/opt/mprnet/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mprnet
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.6" "torchvision>=0.21"
COPY scripts/install_host.py /source/scripts/
RUN python /source/scripts/install_host.py
COPY . /source
RUN pip wheel --no-deps --wheel-dir /wheels /source && pip install "$(ls /wheels/*.whl)[$EXTRAS]"

FROM python:${PYTHON}-slim
# Shared libraries that OpenCV's wheel asks of the system.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home mprnet && mkdir --mode 1777 /cache /pictures
COPY --from=build /opt/mprnet /opt/mprnet
ENV PATH=/opt/mprnet/bin:$PATH MPRNET_PLUGIN_CACHE=/cache HF_HOME=/cache/huggingface
USER mprnet
WORKDIR /pictures
ENTRYPOINT ["mprnet-restore"]
CMD ["--help"]
