"""Where the database is looked for, which of its files are read, and what is said without one."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from types import ModuleType

import pytest

from servecast.errors import InputError
from servecast.profiler import import_system, systems, systems_root
from servecast.profiler.aic_package import table_files
from tests.aic_database import Database, gemm


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(InputError, match=r"aiconfigurator-core 0\.12\.0") as caught:
        import_system("h200_sxm")
    assert caught.value.hint == 'pip install "servecast[aic]"'


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "aiconfigurator_core-0.13.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: aiconfigurator-core\nVersion: 0.13.0\n")

    def found(_name: str) -> importlib.metadata.Distribution:
        return importlib.metadata.PathDistribution(folder)

    monkeypatch.setattr(importlib.metadata, "distribution", found)
    with pytest.raises(InputError, match=r"0\.13\.0 is installed.* 0\.12\.0"):
        systems_root()


def test_a_folder_without_data_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder `data`"):
        systems_root(tmp_path)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path)
    path = database.root / "data/h200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet"
    path.parent.mkdir(parents=True)
    path.touch()
    (database.root / "h200_sxm.yaml").write_text("node:\n  num_gpus_per_node: 8\n")
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match="pyarrow") as caught:
        database.tables()
    assert caught.value.hint == 'pip install "servecast[aic]"'


def test_no_file_but_those_of_tables_is_listed(tmp_path: Path) -> None:
    database = Database(tmp_path)
    path = database.add("gemm_perf", [gemm(1)])
    (path.parent / "collection_meta.yaml").write_text("status: complete\n")
    (database.root / "silicon_sample.csv").write_text("id\n")
    (database.root / "data/h200_sxm/silicon_sample.csv").write_text("id\n")
    assert [file.path for file in table_files("h200_sxm", database.root)] == [path]


def test_systems_are_those_with_measurements(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.add("gemm_perf", [gemm(1)], system="b60")
    database.add("gemm_perf", [gemm(1)], system="a100_sxm")
    (database.root / "data/l4").mkdir()
    assert systems(database.root) == ("a100_sxm_80gb", "arc_pro_b60")


def test_nothing_is_made_up_for_a_device_that_was_not_measured(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.add("gemm_perf", [gemm(1)])
    with pytest.raises(InputError, match="measured GPU `h100_sxm` is unknown") as caught:
        database.tables("h100_sxm")
    assert "h200_sxm" in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("sources", "families", "near"), [(["vlm"], None, "vllm"), (None, ["gem"], "gemm")]
)
def test_names_that_are_not_known_are_refused(
    tmp_path: Path, sources: list[str] | None, families: list[str] | None, near: str
) -> None:
    with pytest.raises(InputError, match="is unknown") as caught:
        Database(tmp_path).tables(sources=sources, families=families)
    assert f"did you mean `{near}`" in str(caught.value.hint)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    database = Database(tmp_path)
    path = database.add("gemm_perf", [gemm(1)])
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="cannot be read as parquet") as caught:
        database.tables()
    assert str(path) in caught.value.message


def test_a_table_without_a_column_names_it(tmp_path: Path) -> None:
    database = Database(tmp_path)
    row = gemm(1)
    del row["m"]
    database.add("gemm_perf", [row])
    with pytest.raises(InputError, match="no column `m`\n  columns: framework, version"):
        database.tables()
