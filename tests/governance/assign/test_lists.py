"""What was shown, clicked or not, by photo and item."""

import numpy as np

from oclear.governance.assign import shown_items


def test_every_exposure_counts_and_unknown_photos_and_items_do_not(make):
    log = make.log(
        [
            ("q000", "i000", 0, False),
            ("q000", "i002", 1, True),
            ("q001", "i002", 0, False),
            ("q009", "i001", 0, True),
            ("q001", "i009", 1, True),
        ]
    )
    shown = shown_items(log, make.queries(3), make.items(3))
    np.testing.assert_array_equal(shown.toarray(), [[1, 0, 1], [0, 0, 1], [0, 0, 0]])
