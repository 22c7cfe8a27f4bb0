"""What the runs of an acceptance program have given, kept in a file so that a second start goes on where the first one
stopped. Used by boot_models.py and boot_xen.py."""

import json
import os


class Results:
    """By name of the run: {"problems": [...], ...}. Runs with problems are made again."""

    def __init__(self, path):
        self.path, self.all, self.names = path, {}, []
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self.all = json.load(f)

    def wanted(self, name):
        """Counts the run; has it still to be made?"""
        self.names.append(name)
        return bool(self.all.get(name, {"problems": ["not run"]})["problems"])

    def add(self, name, problems, **figures):
        self.all[name] = {"problems": problems, **figures}
        print(f"{'not ok' if problems else 'ok'} - {name}: {self.all[name]}", flush=True)
        if self.path:
            with open(self.path + ".new", "w", encoding="utf-8") as f:
                json.dump(self.all, f, indent=1)
            os.replace(self.path + ".new", self.path)

    def finish(self):
        """Prints the last line; the exit status."""
        failed = [name for name in self.names if self.all[name]["problems"]]
        print(json.dumps({"runs": len(self.names), "failed": failed}))
        return 1 if failed else 0
