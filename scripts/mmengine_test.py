"""Test with mmengine's Runner; also ``python -m mprnet_plugin.hosts.mmengine.test``."""

from mprnet_plugin.hosts.mmengine.test import cli

if __name__ == "__main__":
    cli()
