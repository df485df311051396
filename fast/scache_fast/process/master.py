"""The start of a child of Postfix's master(8), in the place of scache(8).

postconf(1) is asked as early as possible, and while it runs everything else is imported: what comes then is child.py.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from scache_fast.process import inherited
from scache_fast.process.errors import StartError
from scache_fast.process.invocation import parse
from scache_fast.process.logger import Logger
from scache_fast.process.mail_log import MailLog
from scache_fast.process.postfix_parameters import OWN_PREFIX, Question
from scache_fast.process.sinks import to_stderr

_NAME: Final = f"{OWN_PREFIX}syslog_name"


def main(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run as a child of master(8); return the exit status."""
    inherited.fill_standard_descriptors()
    name = os.path.basename(program)
    mail_log = MailLog(name, environment)
    try:
        invocation = parse(name, arguments, environment)
        if _NAME in invocation.overrides:
            name = invocation.overrides[_NAME]
            mail_log.rename(name)
        question = Question(environment.get("MAIL_CONFIG", "/etc/postfix"), invocation.overrides)
        from scache_fast.process import child  # It takes as long as postconf(1), which runs meanwhile.

        status = child.run(name, invocation, question.answer(), mail_log, environment)
    except StartError as error:
        mail_log.log.fatal(str(error))
        if os.isatty(0):
            Logger(to_stderr(name)).fatal(str(error))  # Whoever typed the command does not look into the mail log.
        status = 1
    mail_log.sink.finish()
    return status
