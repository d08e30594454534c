"""Serves as the executable of cvc5, by its Python module: SMT-LIB on standard input, answers on standard output.

Takes `--version`, `--lang LANG` and `--OPTION=VALUE`, and answers each command as soon as it is complete. scripts/install-solver
puts it beside the module.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

from cvc5.cvc5_python_base import InputLanguage, InputParser, Solver, SymbolManager, TermManager  # noqa: E402

# Strings, quoted symbols and comments, in which parentheses do not count, and parentheses.
TOKEN = re.compile(r'"(?:[^"]|"")*"|\|[^|]*\||;[^\n]*|[()]')


class Session:
    """What holds between two resets."""

    def __init__(self, options):
        self.terms = TermManager()
        self.solver = Solver(self.terms)
        for name, value in options:
            self.solver.setOption(name, value)
        self.symbols = SymbolManager(self.terms)
        self.parser = InputParser(self.solver, self.symbols)

    def run(self, text):
        self.parser.setStringInput(InputLanguage.SMT_LIB_2_6, text, "<stdin>")
        while not (command := self.parser.nextCommand()).isNull():
            yield command.invoke(self.solver, self.symbols)


def commands(lines):
    """The texts of whole commands, which may have several lines."""
    text = ""
    for line in lines:
        text += line
        tokens = [token for token in TOKEN.findall(text) if token in "()"]
        if tokens.count("(") == tokens.count(")"):
            yield text
            text = ""


def answer(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def version():
    solver = Solver(TermManager())
    found = solver.getVersion()
    return found.decode() if isinstance(found, bytes) else found


def main():
    if "--version" in sys.argv[1:]:
        answer(f"This is cvc5 version {version()} as a Python module\n")
        return
    options = [given.groups() for given in map(re.compile(r"--([a-z-]+)=(.*)").fullmatch, sys.argv[1:]) if given]
    session = Session(options)
    for text in commands(sys.stdin):
        command = text.strip()
        if command == "(reset)":
            session = Session(options)
        elif command == "(exit)":
            return
        else:
            try:
                for output in session.run(text):
                    answer(output)
            except Exception as error:  # whatever the module raises is what the executable would print
                words = " ".join(str(error).split()).replace('"', '""')
                answer(f'(error "{words}")\n')


if __name__ == "__main__":
    main()
