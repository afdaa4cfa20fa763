"""What tests of several rooms need: the command line as a function, and a tiny text encoder."""

import io
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Tests with several ranks fork them from a server that has imported what all need. Arrow's allocator would run a thread
# in it, and a fork while a thread holds a lock may hang.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
multiprocessing.set_forkserver_preload(["oclear.training"])


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line of standard output."""
        assert self.code == 0, self.stderr
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


@pytest.fixture(scope="session")
def oclear() -> Callable[..., Outcome]:
    """``oclear("search", "--index", folder, ...)``: as from a shell, within this process."""
    from oclear import cli

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["oclear", *(str(argument) for argument in arguments)])
            code = cli.parse_and_run()
        return Outcome(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def save_bert() -> Callable[..., None]:
    """Saves a BERT of one layer with a vocabulary of a few words, as ``transformers`` does."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    def save(folder: Path, words: list[str], **settings: float) -> None:
        vocabulary = {word: number for number, word in enumerate(words)}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        special = ("pad", "unk", "cls", "sep")
        names = {f"{name}_token": f"[{name.upper()}]" for name in special}
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
        torch.manual_seed(5)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            **settings,
        )
        BertModel(config).save_pretrained(folder)

    return save
