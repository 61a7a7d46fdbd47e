"""docs/evidence/gpus.py: one process per GPU, each with the arguments of run.py."""

import json
import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "evidence" / "gpus.py"
RUN = """
import json, os, sys
print(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], sys.argv[1:]]))
sys.exit(int(os.environ["CUDA_VISIBLE_DEVICES"]))
"""


def test_each_gpu_has_a_process_with_its_own_pack(tmp_path, capsys):
    (tmp_path / "run.py").write_text(RUN)
    packs = tmp_path / "packed"
    arguments = ["--gpus", "3", "--run", str(tmp_path / "run.py"), "--pack", str(packs)]
    code = runpy.run_path(str(SCRIPT))["main"]([*arguments, "--", "--stage", "all"])
    assert code == 2  # the largest
    shown = capsys.readouterr().out
    for number in range(3):
        printed = json.loads((packs / f"gpu{number}.txt").read_text())
        pack = str(packs / f"gpu{number}.tar.gz")
        assert printed == [str(number), ["--stage", "all", "--pack", pack]]
        assert f"GPU {number}:\n" in shown
