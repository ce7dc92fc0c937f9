#!/usr/bin/env python3
"""Checks packaging/: the unit, the image's recipe, the compose file, and the chart as it renders.

What needs an engine is not run here: no image is built, no container or pod is started, and `helm lint` is
not called (the chart is rendered by render.go, with Helm's own template engine).
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

HOME = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = HOME / "packaging"
CHART = PACKAGING / "helm" / "cardveil"
HERE = HOME / "scripts" / "packaging"
TOOLS = HOME / ".tools" / "packaging" / "bin"
KUBERNETES = ["1.27", "1.37"]
# Of `systemd-analyze security`, times ten: 14 today.
EXPOSURE_MAX = 15
# How long a stop may take after its delay: what runs has 10 s, then sinks of the audit log 5.
STOP_SECS = 15

failures = []


def check(well, what):
    if not well:
        failures.append(what)
        print(f"packaging: {what}", file=sys.stderr)


def run(*args, **more):
    args = [str(arg) for arg in args]
    done = subprocess.run(args, text=True, capture_output=True, **more)
    check(done.returncode == 0, f"{' '.join(args)}\n{done.stdout}{done.stderr}")
    return done.stdout


def unit():
    folder = PACKAGING / "systemd"
    with tempfile.TemporaryDirectory() as etc:
        # A program that is there stands in for ours, and each drop-in is laid over the unit.
        text = (folder / "cardveil.service").read_text().replace("/usr/local/bin/cardveil", "/bin/true")
        for name in [None, "root-key.conf", "low-ports.conf", "softhsm.conf"]:
            at = pathlib.Path(etc) / (name or "none") / "cardveil.service"
            over = at.parent / "cardveil.service.d"
            over.mkdir(parents=True)
            at.write_text(text)
            if name:
                (over / name).write_text((folder / name).read_text())
            said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", at)
            check(not said.strip(), f"systemd-analyze verify, {name}: {said}")
        security = ["systemd-analyze", "security", "--no-pager", "--offline=yes"]
        run(*security, f"--threshold={EXPOSURE_MAX}", pathlib.Path(etc) / "none" / "cardveil.service")


def image():
    run(TOOLS / "hadolint", PACKAGING / "docker" / "Dockerfile")
    channel = tomllib.loads((HOME / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    wanted = f"FROM rust:{'.'.join(channel.split('.')[:2])}-"
    recipe = (PACKAGING / "docker" / "Dockerfile").read_text()
    check(wanted in recipe, f"the Dockerfile builds with another Rust than {channel}")
    for base in (line for line in recipe.splitlines() if line.startswith("FROM ")):
        check(re.search(r"@sha256:[0-9a-f]{64}( |$)", base), f"a base that no digest names: {base}")
    sent = (PACKAGING / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    for member in tomllib.loads((HOME / "Cargo.toml").read_text())["workspace"]["members"]:
        check(f"!{member.split('/')[0]}" in sent, f"the image is built without {member}")
    compose = PACKAGING / "docker" / "compose.yaml"
    run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose)
    secrets(compose)


def secrets(compose):
    """Files of secrets are seen in containers as they are: each is given to the account that reads it."""
    import yaml

    recipe = yaml.safe_load(compose.read_text())
    given = {}
    for owner, names in re.findall(r"(?m)^chown (\d+) ([\w. ]+)$", (PACKAGING / "README.md").read_text()):
        given |= dict.fromkeys(names.split(), owner)
    roles = compose.parent / "roles.sh"
    read = set(re.findall(r"/run/secrets/(\w+)", roles.read_text()))
    check(read <= set(recipe["services"]["postgres"]["secrets"]), f"roles.sh reads {read}")
    for name, service in recipe["services"].items():
        account = "999" if service["image"].startswith("postgres:") else "65532"
        for secret in service["secrets"]:
            file = pathlib.Path(recipe["secrets"][secret]["file"]).name
            check(given.get(file) == account, f"{name} runs as {account} and reads {file}, of {given.get(file)}")
    settings = tomllib.loads((compose.parent / "cardveil.toml").read_text())
    delay = settings.get("shutdown", {}).get("delay_secs", 0)
    grace = int(recipe["services"]["cardveil"]["stop_grace_period"].removesuffix("s"))
    check(grace >= delay + STOP_SECS, f"the container is killed after {grace} s")
    # Here are no secrets, so it must end before it makes a role.
    with tempfile.TemporaryDirectory() as folder:
        psql = pathlib.Path(folder) / "psql"
        psql.write_text('#!/bin/sh\ntouch "$0.called"\n')
        psql.chmod(0o755)
        path = {"PATH": f"{folder}:{os.environ['PATH']}", "POSTGRES_USER": "postgres", "POSTGRES_DB": "cardveil"}
        done = subprocess.run(["sh", roles], env=path, capture_output=True)
        called = psql.with_suffix(".called").exists()
        check(done.returncode != 0 and not called, "roles.sh makes roles though it cannot read their passwords")


def restricted(name, spec):
    """Kubernetes' Pod Security Standards, "restricted", and what ours promise besides."""
    pod = spec["securityContext"]
    check(pod["runAsNonRoot"] is True and pod["runAsUser"] > 0, f"{name} runs as root")
    check(pod["seccompProfile"]["type"] == "RuntimeDefault", f"{name} has no seccomp profile")
    check(spec["automountServiceAccountToken"] is False, f"{name} has a token of the cluster")
    for container in spec["containers"]:
        own = container["securityContext"]
        check(own["allowPrivilegeEscalation"] is False, f"{name} may get privileges")
        check(own["readOnlyRootFilesystem"] is True, f"{name} may write")
        check(own["capabilities"] == {"drop": ["ALL"]}, f"{name} has capabilities")
        check("memory" in container["resources"]["limits"], f"{name} has no bound of memory")
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        check(mounts == volumes.keys(), f"{name} mounts {mounts} of {volumes.keys()}")
        for mount in container["volumeMounts"]:
            given = {"secret", "configMap"} & volumes[mount["name"]].keys()
            check(mount.get("readOnly") is True or not given, f"{name} mounts {mount['name']} to write")
    for volume in spec["volumes"]:
        secret = volume.get("secret")
        check(secret is None or secret["defaultMode"] == 0o400, f"{name}: {volume} can be read by all")


def chart(render):
    import yaml

    schema = CHART / "values.schema.json"
    run(TOOLS / "check-jsonschema", "--check-metaschema", schema)
    for values in sorted(HERE.glob("*.values.yaml")):
        # Helm holds the values of both together against the schema.
        both = yaml.safe_load((CHART / "values.yaml").read_text()) | yaml.safe_load(values.read_text())
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(both, file)
            run(TOOLS / "check-jsonschema", "--schemafile", schema, file.name)
        text = run(render, CHART, "cv", "cards", values)
        documents = [document for document in yaml.safe_load_all(text) if document]
        kinds = sorted(document["kind"] for document in documents)
        wanted = ["ConfigMap", "ConfigMap", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget"]
        check(kinds == wanted + ["Service"] * 3 + ["ServiceAccount"], f"{values.name} renders {kinds}")
        names = [(document["kind"], document["metadata"]["name"]) for document in documents]
        check(len(set(names)) == len(names), f"{values.name}: a name twice: {names}")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            for version in KUBERNETES:
                run(TOOLS / "kubernetes-validate", "--strict", "-k", version, file.name)
            style = "{extends: relaxed, rules: {line-length: disable, trailing-spaces: disable, empty-lines: disable, indentation: disable}}"
            run(TOOLS / "yamllint", "-s", "-d", style, file.name)
        specs = {d["kind"]: d["spec"]["template"]["spec"] for d in documents if d["kind"] in ("Deployment", "Job")}
        for key in ["imagePullSecrets", "priorityClassName", "nodeSelector", "tolerations", "affinity"]:
            given = both.get(key) or None
            check(all(spec.get(key) == given for spec in specs.values()), f"{values.name}: {key} is not everywhere")
        grace = specs["Deployment"]["terminationGracePeriodSeconds"]
        check(grace >= both["shutdownDelaySecs"] + STOP_SECS, f"{values.name}: a pod is killed after {grace} s")
        for document in documents:
            of = f"{values.name}, {document['kind']}"
            spec = document.get("spec", {})
            if "template" in spec:
                restricted(of, spec["template"]["spec"])
                labels = spec["template"]["metadata"]["labels"]
                chosen = spec.get("selector", {}).get("matchLabels", {})
                check(chosen.items() <= labels.items(), f"{of} does not choose its own pods")
            if document["kind"] == "ConfigMap":
                config(of, document["data"]["cardveil.toml"])
    refused = HERE / "refused.yaml"
    good = yaml.safe_load((CHART / "values.yaml").read_text())
    good |= yaml.safe_load((HERE / "sandbox.values.yaml").read_text())
    for number, wrong in enumerate(yaml.safe_load_all(refused.read_text())):
        wrong = good | wrong
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(wrong, file)
            done = subprocess.run(
                [TOOLS / "check-jsonschema", "--schemafile", schema, file.name], capture_output=True
            )
            check(done.returncode == 1, f"values.schema.json takes number {number} of refused.yaml")


def config(of, text):
    """What the chart writes is a configuration: every key is one that docs/reference/configuration.md has."""
    documented = (HOME / "docs/reference/configuration.md").read_text()

    def look(table, path):
        for key, value in table.items():
            if isinstance(value, dict) and path != ["keys"]:
                look(value, [*path, key])
            elif isinstance(value, list) and all(isinstance(one, dict) for one in value) and value:
                name = ".".join([*path, key])
                check(f"`[[{name}]]`" in documented, f"{of}: [[{name}]] is not documented")
            elif path and path[0] == "tls":
                check(f"`{key}`" in documented, f"{of}: tls.*.{key} is not documented")
            else:
                name = ".".join([*path, key])
                check(f"`{name}`" in documented, f"{of}: {name} is not documented")

    look(tomllib.loads(text), [])


def main():
    unit()
    image()
    with tempfile.TemporaryDirectory() as folder:
        render = pathlib.Path(folder) / "render"
        # Debian's libraries, without modules.
        go = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
        go["GOCACHE"] = str(HOME / ".tools" / "go-cache")
        run("go", "build", "-o", render, HERE / "render.go", env={**os.environ, **go})
        chart(render)
    version = re.search(r'^version = "(.*)"', (HOME / "Cargo.toml").read_text(), re.M).group(1)
    wanted = f'appVersion: "{version}"'
    check(wanted in (CHART / "Chart.yaml").read_text(), f"the chart is not of version {version}")
    sys.exit(1 if failures else 0)


main()
