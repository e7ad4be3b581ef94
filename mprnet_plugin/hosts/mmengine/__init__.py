"""Everything that imports mmengine: registries, model, data, metric, hooks, loops, weights, commands.

Importing this package registers every part in the scope ``mprnet``; configs do so by ``custom_imports``.
"""

from mprnet_plugin.hosts.mmengine import registration

registration.register_all()
