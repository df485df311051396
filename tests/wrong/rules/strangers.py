"""Wrong servers in C: each slip of tests.wrong.strangers, as a server that the suite starts by its command."""

from tests.wrong.registry import threaded_server, wrong_server
from tests.wrong.strangers.slips import SLIPS

for _name, _slip in SLIPS.items():
    wrong_server(f"c-{_name}", *_slip.clauses, what=_slip.what, command=threaded_server(_name), server="threaded")
