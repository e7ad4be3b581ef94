"""Train with mmengine's Runner; also ``python -m mprnet_plugin.hosts.mmengine.train``."""

from mprnet_plugin.hosts.mmengine.train import cli

if __name__ == "__main__":
    cli()
