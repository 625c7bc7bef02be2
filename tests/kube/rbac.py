#!/usr/bin/env python3
"""rbac.py MANIFESTS < LOG: every request that was made (fakeapi's /test/log) is granted by the manifests' roles, and
everything that they grant for listing and watching was asked for. Exits with what is wrong."""
import json, sys

import yaml

granted = {(g, r, v) for d in yaml.safe_load_all(open(sys.argv[1])) if d and d["kind"] in ("ClusterRole", "Role")
           for rule in d["rules"] for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
made = set()
for request in json.load(sys.stdin):
    parts = request["path"].split("/")
    made.add(("" if parts[1] == "api" else parts[2], parts[-1], request["verb"]))
wrong = [f"not granted: {x}" for x in sorted(made - granted)]
wrong += [f"granted and not used: {x}" for x in sorted(granted - made)
          if x[2] in ("list", "watch") and (x[0], x[1], "list" if x[2] == "watch" else "watch") not in made]
sys.exit("\n".join(wrong) if wrong else 0)
