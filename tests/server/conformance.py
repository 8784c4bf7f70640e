"""Schemathesis sends a server what its /openapi.json allows and what it forbids, and reads the answers.

python3 conformance.py PROGRAM [CASES], with schemathesis installed for that Python.
"""

import os
import re
import subprocess
import sys
import tempfile

from server import serve

CASES = 600
# Operations that take a body share the cases; the others have a handful.
POST_OPERATIONS = 5

# Left out, because a schema cannot say what they ask for, or because there is nothing to ask:
#   positive_data_acceptance: a schema cannot know the model's tokens, nor that a text is too long;
#   allow_header_conformance, missing_required_header: nothing is declared;
#   ignored_auth, object_level_authorization, use_after_free, ensure_resource_availability: keys are
#   tested in powerinfer-server, and nothing is stored that could be created or deleted.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
]


def main():
    program = sys.argv[1]
    cases = int(sys.argv[2]) if len(sys.argv) > 2 else CASES
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": path}
    command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run"]
    command += ["--no-color", "--phases", "examples,coverage,fuzzing", "--mode", "all"]
    command += ["--checks", ",".join(CHECKS), "--continue-on-failure"]
    command += ["--max-examples", str(-(-cases // POST_OPERATIONS)), "--request-timeout", "60"]
    command += ["--generation-database", "none", "--suppress-health-check", "all"]
    with serve(program) as server, tempfile.TemporaryDirectory() as folder:
        command.append(f"{server.url}/openapi.json")
        # It keeps what it finds in the current folder.
        run = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        print(run.stdout)
        generated = re.search(r"(\d+) generated", run.stdout)
        assert run.returncode == 0, f"schemathesis found something, and ended with {run.returncode}"
        assert generated and int(generated.group(1)) >= cases, f"wanted at least {cases} cases"
        # The engine has survived all of them.
        server.json("/health")


if __name__ == "__main__":
    main()
