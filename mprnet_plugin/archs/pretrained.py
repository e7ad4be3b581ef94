"""``from_pretrained`` and its companions, by the names that users of model hubs know.

What they do is in :mod:`mprnet_plugin.hub`, a package above this one. It is imported when one of them is called, so the
network stays a plain torch module.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

from typing_extensions import Self

if TYPE_CHECKING:
    from mprnet_plugin.archs.mprnet_arch import MPRNet

__all__ = ["Pretrained"]


class Pretrained:
    """Reads a network from a folder or a repository of the Hugging Face Hub, and writes it there."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | PathLike[str],
        *,
        filename: str | None = None,
        param_key: str | None = None,
        revision: str | None = None,
        cache_dir: str | PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Self:
        """Return a network with its weights, on the CPU, in evaluation mode; nothing that is read can run code.

        Args:
            source: A folder with weights and perhaps ``config.json``, a file of weights, ``mprnet://TASK``,
                ``mprnet://demo/TASK``, or a repository, ``user/name``, which takes the extra ``hub``.
            filename: The file of weights in it; None takes ``model.safetensors``, else the only one there is.
            param_key: Entry of a checkpoint that holds the weights, as in ``load_state_dict``.
            revision: Branch, tag or commit of a repository.
            cache_dir: Where downloads are kept, instead of huggingface_hub's usual place.
            force_download: Download again what is in the cache.
            local_files_only: Take what is in the cache, and ask nobody.
            token: For a private repository, instead of that of ``hf auth login``.

        Returns:
            A network of this class, or :class:`~mprnet_plugin.archs.local_pooling.MPRNetLocal` where ``config.json``
            says so.

        Raises:
            InputError: Nothing there, a file that is damaged, hostile or no MPRNet's, a configuration that is not that
                of the weights, or no network; the message says what to do.
        """
        from mprnet_plugin.hub.loading import Request, load

        request = Request(
            filename=filename,
            param_key=param_key,
            revision=revision,
            cache_dir=None if cache_dir is None else Path(cache_dir),
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cast("Self", load(cast("type[MPRNet]", cls), source, request))

    def save_pretrained(
        self,
        folder: str | PathLike[str],
        *,
        task: str | None = None,
        license: str | None = None,
        figures: Mapping[str, Mapping[str, float]] | None = None,
        note: str | None = None,
        replace_card: bool = False,
    ) -> None:
        """Write ``model.safetensors``, ``config.json`` and the model card ``README.md``.

        Args:
            folder: It is made where it is missing; weights and configuration in it are replaced.
            task: What it restores; None takes the task whose published network has these widths, if any.
            license: Of the weights: an identifier such as ``apache-2.0``, or words.
            figures: What you measured, by the task's protocol: data set's name to ``{"psnr": dB, "ssim": 0..1}``.
            note: A paragraph for the card, such as what it was trained on.
            replace_card: Replace a card that is there; otherwise it stays, and a line says so.

        Raises:
            InputError: A bad argument, or a file that cannot be written.
        """
        from mprnet_plugin.hub.card import Card
        from mprnet_plugin.hub.folders import write_folder

        card = Card.read(task, license, figures, note)
        write_folder(cast("MPRNet", self), Path(folder), card, replace_card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        task: str | None = None,
        license: str | None = None,
        figures: Mapping[str, Mapping[str, float]] | None = None,
        note: str | None = None,
        replace_card: bool = False,
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool = False,
        commit_message: str = "MPRNet by mprnet-plugin",
    ) -> str:
        """Upload what :meth:`save_pretrained` writes, as one commit; takes the extra ``hub``.

        Args:
            repo_id: ``user/name``; it is made where it is missing.
            task: As there, like ``license``, ``figures``, ``note`` and ``replace_card``.
            license: See there.
            figures: See there.
            note: See there.
            replace_card: See there.
            private: Whether a repository that is made is private.
            token: One that may write, instead of that of ``hf auth login``.
            branch: Where to commit.
            create_pr: Open a pull request instead.
            commit_message: Its first line.

        Returns:
            The commit's address.

        Raises:
            InputError: A bad argument, no permission, or no network; the message says what to do.
        """
        from mprnet_plugin.hub.card import Card
        from mprnet_plugin.hub.remote import Push, push

        options = Push(private=private, token=token, branch=branch, create_pr=create_pr, commit_message=commit_message)
        card = Card.read(task, license, figures, note)
        return push(cast("MPRNet", self), repo_id, card, replace_card, options)
