"""Preparing: from slices of the vault to what the index and the vocabulary get of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby

from sqlalchemy import Connection

from textkeep.archive.rows import REWRITTEN, Opened
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.text import Handle, TextId
from textkeep.archive.vault import SliceRow, Vault
from textkeep.search.documents import document_of, words_of
from textkeep.search.index import Addition, Document
from textkeep.search.tokens import Tokens


class Made:
    """What has been made so far: additions, and the distinct words and numbers of each shelf and organisation."""

    def __init__(self) -> None:
        self.additions: list[Addition] = []
        self.vocabulary: dict[tuple[str, Handle], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))

    def note(self, shelf: str, opened: Opened, words: Iterable[str]) -> None:
        """Put down the words and numbers of a text."""
        known, numbers = self.vocabulary[shelf, opened.org]
        known.update(words)
        numbers.update((opened.event.data.from_, opened.event.data.to))


class Preparing:
    """Opens slices and makes documents and vocabulary of their texts. Several threads may use it at once.

    `damaged` holds the slices that could not be prepared because a text of theirs does not open, and how many texts
    they have.
    """

    def __init__(self, vault: Vault, tokens: Tokens) -> None:
        self.damaged: dict[int, int] = {}
        self._vault = vault
        self._tokens = tokens

    def read(self, connection: Connection, claimed: Sequence[SliceRow], made: Made) -> list[SliceRow]:
        """Put down what the index and the vocabulary get of slices, and give those that opened."""
        done: list[SliceRow] = []
        for shelf, group in groupby(sorted(claimed, key=lambda each: each.shelf), key=lambda each: each.shelf):
            slices = list(group)
            try:
                self._read(connection, shelf, slices, made)
                done += slices
            except CannotOpen:
                done += self._read_each(connection, shelf, slices, made)
        return done

    def _read_each(self, connection: Connection, shelf: str, slices: Sequence[SliceRow], made: Made) -> list[SliceRow]:
        done: list[SliceRow] = []
        for each in slices:
            try:
                self._read(connection, shelf, [each], made)
                done.append(each)
            except CannotOpen:
                self.damaged[each.id] = each.texts
        return done

    def _read(self, connection: Connection, shelf: str, slices: Sequence[SliceRow], made: Made) -> None:
        documents: dict[int, list[Document]] = {each.id: [] for each in slices}
        for opened in list(self._vault.slice_texts(connection, slices)):
            words = words_of(opened)
            documents[opened.slice].append(self._document(shelf, opened, words))
            made.note(shelf, opened, words)
            if opened.id.version > 1 and REWRITTEN in opened.flags:
                documents[opened.slice] += self._earlier(connection, shelf, opened.org, opened.id)
        made.additions += [Addition(shelf, each, some) for each, some in documents.items()]
        for each in slices:
            self.damaged.pop(each.id, None)

    def _earlier(self, connection: Connection, shelf: str, org: Handle, text_id: TextId) -> list[Document]:
        """The versions before this one, now that they are known to be rewritten."""
        versions = self._vault.versions(connection, shelf, org, text_id.tag)
        before = [each for each in versions if each.id.version < text_id.version]
        return [self._document(shelf, each, words_of(each)) for each in before]

    def _document(self, shelf: str, opened: Opened, words: set[str]) -> Document:
        return document_of(opened, self._tokens.of(shelf, opened.org), words)
