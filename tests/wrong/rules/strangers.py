"""Wrong servers in C and Go: each slip of tests.wrong.strangers, as a server that the suite starts by its command."""

from tests.wrong.registry import stranger, wrong_server
from tests.wrong.strangers.slips import SLIPS

for _name, _slip in SLIPS.items():
    wrong_server(_name, *_slip.clauses, what=_slip.what, command=stranger(_name), server="stranger")
