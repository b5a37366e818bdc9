"""Finding, put together: what makes texts findable, what compares index and vault, what searches and reads."""

from collections.abc import Callable

from textkeep.archive.activity import Activity
from textkeep.archive.keyring import Keyring
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.shelves import Shelves
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import TextkeepError
from textkeep.search.cursor import Cursors
from textkeep.search.finder import Finder
from textkeep.search.follower import Follower
from textkeep.search.held import HeldBy
from textkeep.search.held_scan import HeldScans
from textkeep.search.index import IndexDriver
from textkeep.search.reader import Reader
from textkeep.search.reconciling import Reconciler
from textkeep.search.scan import Scans
from textkeep.search.tokens import Tokens
from textkeep.search.vocabulary import Vocabulary
from textkeep.store.engine import Store


class Searching:
    """Everything that writes or asks the index of one archive; texts are found and read by the clock `serves`."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        shelves: Shelves,
        vault: Vault,
        papers: Papers,
        organisations: Organisations,
        activity: Activity,
        index: IndexDriver,
        holds: HeldBy,
        clock: Clock,
        serves: Clock,
        failed: Callable[[TextkeepError], None],
    ) -> None:
        tokens, vocabulary = Tokens(keyring), Vocabulary(papers)
        self.follower = Follower(store, shelves, vault, vocabulary, tokens, index, clock, failed=failed)
        self.reconciler = Reconciler(store, shelves, vault, tokens, index, self.follower, clock, failed=failed)
        scans = Scans(store, tokens, vocabulary, index)
        held = HeldScans(store, scans)
        self.finder = Finder(vault, scans, Cursors(keyring), activity, serves, held, holds)
        self.reader = Reader(vault, scans, organisations, activity, serves, held, holds)
