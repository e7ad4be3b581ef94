"""Repositories of the Hugging Face Hub; the only module that imports huggingface_hub, of the extra ``hub``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.hub.card import LIBRARY, Card
from mprnet_plugin.hub.config_file import CONFIG_NAME
from mprnet_plugin.hub.folders import CARD_NAME, WEIGHTS_NAME, choose_weights, write_folder

try:
    from huggingface_hub import HfApi, PyTorchModelHubMixin, errors, hf_hub_download
    from huggingface_hub.file_download import try_to_load_from_cache
except ImportError as missing:
    raise InputError(
        "the Hub needs huggingface_hub, which is not there: pip install 'mprnet-plugin[hub]'; a folder works without"
    ) from missing

if TYPE_CHECKING:
    from mprnet_plugin.hub.loading import Request

__all__ = ["Push", "fetch", "push"]

logger = logging.getLogger(__name__)

_LARGEST = 1 << 30
"""No MPRNet's weights are near this many bytes."""
_LOGIN = "log in with `hf auth login`, or give a token"


@dataclass(frozen=True)
class Push:
    """How to upload; the fields are ``MPRNet.push_to_hub``'s."""

    private: bool | None = None
    token: str | None = field(default=None, repr=False)
    branch: str | None = None
    create_pr: bool = False
    commit_message: str = "MPRNet by mprnet-plugin"


class _Carrier(PyTorchModelHubMixin):
    """Takes a network to the Hub, so that the network itself is no mixin: huggingface_hub makes the commit of a folder.

    Args:
        net: The network.
        card: What is known of its weights.
    """

    def __init__(self, net: MPRNet, card: Card) -> None:
        self.net, self.card = net, card

    def _save_pretrained(self, save_directory: Path) -> None:
        write_folder(self.net, save_directory, self.card)


def push(net: MPRNet, repo_id: str, card: Card, replace_card: bool, options: Push) -> str:
    """Upload a network's folder in one commit; see ``MPRNet.push_to_hub``.

    Raises:
        InputError: No such name, no permission, no network.
    """
    try:
        api = HfApi(token=options.token, library_name=LIBRARY)
        keep = not replace_card and api.file_exists(repo_id, CARD_NAME, revision=options.branch)
        if keep:
            logger.warning("%s has a model card, which stays; replace_card=True writes a new one", repo_id)
        return _Carrier(net, card).push_to_hub(
            repo_id,
            private=options.private,
            token=options.token,
            branch=options.branch,
            create_pr=options.create_pr,
            commit_message=options.commit_message,
            ignore_patterns=[CARD_NAME] if keep else None,
        )
    except InputError:
        raise
    except Exception as error:
        raise InputError(_explain(repo_id, options.branch, error)) from error


def fetch(repo_id: str, request: Request) -> tuple[Path, Path | None]:
    """Download a repository's weights and configuration, or find them in the cache.

    Args:
        repo_id: ``user/name``.
        request: Which file of which revision, and how.

    Returns:
        The file of weights; ``config.json``, or None where the repository has none.

    Raises:
        InputError: No such repository, revision or file, a file too large for weights, or neither network nor cache.
    """
    try:
        config = _config(repo_id, request)
        if request.filename is not None:
            return _download(repo_id, request.filename, request), config
        try:
            return _download(repo_id, WEIGHTS_NAME, request), config
        except errors.RemoteEntryNotFoundError:
            names = HfApi(token=request.token).list_repo_files(repo_id, revision=request.revision)
            return _download(repo_id, choose_weights(names, repo_id), request), config
    except InputError:
        raise
    except Exception as error:  # its own errors, its HTTP library's, the system's
        raise InputError(_explain(repo_id, request.revision, error)) from error


def _config(repo_id: str, request: Request) -> Path | None:
    try:
        return _download(repo_id, CONFIG_NAME, request)
    except errors.RemoteEntryNotFoundError:
        return None
    except errors.LocalEntryNotFoundError:
        known = try_to_load_from_cache(repo_id, CONFIG_NAME, request.cache_dir, request.revision)
        if known is None or isinstance(known, str):  # anything else stands for a file that the repository has not
            raise
        return None


def _download(repo_id: str, filename: str, request: Request) -> Path:
    """Return a file in the cache, after its size has been asked for."""

    def call(dry_run: bool) -> object:
        return hf_hub_download(
            repo_id,
            filename,
            revision=request.revision,
            cache_dir=request.cache_dir,
            force_download=request.force_download,
            local_files_only=request.local_files_only,
            token=request.token,
            library_name=LIBRARY,
            dry_run=dry_run,
        )

    size = getattr(call(dry_run=True), "file_size", None)
    if size is not None and size > _LARGEST:
        raise InputError(f"{repo_id}: {filename} has {size} bytes, more than any MPRNet's weights; choose a filename")
    return Path(str(call(dry_run=False)))


def _explain(repo_id: str, revision: str | None, error: Exception) -> str:
    """Say in one line what went wrong and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"{repo_id}: its owner asks for consent: give it on the repository's page, then {_LOGIN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{repo_id}: neither a folder here nor a repository of the Hub that may be read; check the name, and if it "
            f"is private, {_LOGIN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo_id}: has no revision {revision!r}; give a branch, tag or commit that is there"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"{repo_id}: has no such file; its page lists those that it has ({_first_line(error)})"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{repo_id}: the Hub may not be asked, as HF_HUB_OFFLINE is set; unset it, or name a file in the cache"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"{repo_id}: no folder of that name here, not in the Hub's cache, and the Hub could not be asked (offline, "
            "or HF_HUB_OFFLINE is set); connect, or give a folder"
        )
    if isinstance(error, errors.HFValidationError):
        return f"{repo_id!r} is no repository's name, expected user/name ({_first_line(error)})"
    if status in (401, 403) or isinstance(error, errors.LocalTokenNotFoundError):
        return f"{repo_id}: the Hub refused ({status or 'no token'}); {_LOGIN} that may do this"
    return f"{repo_id}: the Hub could not be used ({type(error).__name__}: {_first_line(error)}); try again later"


def _first_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
