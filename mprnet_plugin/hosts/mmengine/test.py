"""``python -m mprnet_plugin.hosts.mmengine.test CONFIG CHECKPOINT``: test with mmengine's runner."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import PrepareTTAHook
from mmengine.runner import Runner

from mprnet_plugin.errors import run_command
from mprnet_plugin.hosts.mmengine import command
from mprnet_plugin.hosts.mmengine.loading import with_scheme

__all__ = ["cli", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Test as a config says.

    Returns:
        0.

    Raises:
        InputError: The config, the checkpoint, or what they name, is wrong.
    """
    parser = command.base_parser("mmengine_test.py", "Score a network by its test sets' protocols.")
    parser.add_argument("checkpoint", help="weights of any origin, or mprnet://Deblurring for published ones")
    parser.add_argument("--show-dir", metavar="DIR", help="write every restored picture to DIR/SET")
    parser.add_argument("--tta", action="store_true", help="average eight flips and rotations: eight times the work")
    args = parser.parse_args(argv)
    config = command.read_config(args)
    command.require(config, "model", "test_dataloader", "test_cfg", "test_evaluator")
    config.load_from, config.resume = with_scheme(args.checkpoint), False
    # Testing needs no training data, which the runner would look for.
    for name in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        config.pop(name, None)
    for name in ("val_dataloader", "val_cfg", "val_evaluator"):
        config.pop(name, None)
    # Of a training with a moving average the file's weights are the average already.
    config.custom_hooks = [hook for hook in config.custom_hooks if not str(hook.get("type")).endswith("EMAHook")]
    for hook in config.custom_hooks:
        if hook.get("type") == "PicturesHook" and args.show_dir:
            hook.save_dir = args.show_dir
    with command.in_one_line():
        command.join_processes(args.launcher)
        runner = Runner.from_cfg(config)
        if args.tta:
            runner.register_hook(PrepareTTAHook(config.get("tta_model") or {"type": "SelfEnsemble"}))
        runner.test()
    return 0


def cli() -> None:
    """Run :func:`main` as a command."""
    run_command(main)


if __name__ == "__main__":
    cli()
