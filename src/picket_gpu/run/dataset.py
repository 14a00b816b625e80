"""The particles of all tomograms in a directory together: one scale of heights, and one list.

Files of single tomograms come first, from runs, parts of runs and `pick`, in any order and at the
same time. `update_lists` then makes what depends on all of them from what there is.
"""

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yaml

from picket_gpu.errors import PicketError
from picket_gpu.files.atomic import atomic_file
from picket_gpu.files.filenames import (
    FURTHER,
    PARTICLES,
    Key,
    bare_tables,
    candidate_files,
    list_name,
    page_name,
    particle_files,
)
from picket_gpu.particles.candidates import Scale
from picket_gpu.particles.files import (
    are_settled,
    files_of,
    filled,
    follow_a_table,
    has_files,
    picked_in,
    read_candidates,
    read_with_candidates,
    rename_aside,
    renew_beside,
    stamp_of,
    write_particles,
)
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.pool import Pool
from picket_gpu.particles.settings import of_picks
from picket_gpu.particles.threshold import otsu
from picket_gpu.report.write import page_shows, renew_page
from picket_gpu.run.picking import claimed_by
from picket_gpu.run.record import ListRecord, Records

MOST_ROUNDS = 20  # while other jobs write to the directory
NAMED = 5  # tomograms in a warning
ABOUT = "yaml"  # kind of the file by which a list is known
_TABLE = "sha256 of the CSV file: "  # the last line of that
_HEAD = "# Particles of several tomograms, by picket_gpu"
_State: TypeAlias = dict[Path, tuple[int, int]]


@dataclass(frozen=True)
class ParticleList:
    """The particles of one workflow and name in all tomograms of a directory.

    Attributes:
        key: feature mode, clustering method, name.
        particles: of each tomogram, in the order of ``inputs``, with all candidates.
        files: the list's own, by kind; none where there is one tomogram, or names are equal.
        warnings: what to look at, a line each.
    """

    key: Key
    particles: list[Particles]
    files: dict[str, Path]
    warnings: list[str]

    @property
    def count(self) -> int:
        """Number of particles in all tomograms."""
        return sum(one.count for one in self.particles)

    @property
    def record(self) -> ListRecord:
        """What the record of a run says of it."""
        mode, method, picking = self.key
        return ListRecord(
            mode=mode,
            method=method,
            picking=picking,
            tomograms=len(self.particles),
            count=self.count,
            files=[path.name for path in self.files.values()],
            warnings=self.warnings,
        )

    @property
    def lines(self) -> list[str]:
        """What people are told of it."""
        return [*(f"warning: {text}" for text in self.warnings), *self.named]

    @property
    def named(self) -> list[str]:
        """A line with the names of its files, if it has any."""
        if not self.files:
            return []
        first, *others = self.files.values()
        kinds = ", ".join(path.name.removeprefix(first.stem) for path in others)
        return [f"All {len(self.particles)} tomograms: {first} ({kinds}): {self.count:,} particles"]


@dataclass(frozen=True)
class Update:
    """What `update_lists` has made.

    Attributes:
        lists: one for each workflow and name.
        changed: particles of single tomograms that were chosen anew, by a threshold of the dataset
            or because others have claimed their places, here or by another job.
        warnings: files that cannot be read, and are left out, a line each.
    """

    lists: list[ParticleList]
    changed: list[Particles]
    warnings: list[str]

    def lines(self, keys: Container[Key]) -> list[str]:
        """What people are told of it, and of the lists of some workflows and names."""
        faults = [f"warning: {text}" for text in self.warnings]
        return [*faults, *(line for one in self.lists if one.key in keys for line in one.lines)]


def update_lists(
    directory: Path, known: Iterable[Particles] = (), inputs: Mapping[int, str] | None = None
) -> Update:
    """Choose by thresholds of the dataset, and write its lists.

    Whichever of several jobs is the last to write has seen the files of all: it looks again after
    it has written, and where others have written in between, it writes all of it again.

    Args:
        known: particles as the caller has them; another job may have chosen anew meanwhile.
        inputs: names of all tomograms of the dataset, by index; default: those of the newest run.
            Particles of others, which a user has taken out since, are in no list.
    """
    if inputs is None:
        inputs = {index: name for index, (name, _) in Records(directory).inputs.items()}
    changed: dict[tuple[int, Key], Particles] = {}
    written: _State = {}
    aside: list[str] = []
    for attempt in range(MOST_ROUNDS):
        state = _state(directory)
        contested = {path for path, stamp in written.items() if state.get(path) != stamp}
        found, warnings = _read(state, contested)
        if inputs:
            warnings += _left_out(directory, [one for one in found if one.index not in inputs])
            found = [one for one in found if one.index in inputs]
            warnings += _renamed(found, inputs)
        chosen = _chosen(found)
        for place, (before, now) in enumerate(zip(found, chosen, strict=True)):
            files = files_of(now)
            if now.edited is not None:
                if renew_beside(files, now):
                    changed[now.index, now.key] = now
                continue
            # A person may have put the table back, or another job may have written it.
            as_it_is = now is before and not (
                files["candidates"] in contested or follow_a_table(files)
            )
            if as_it_is and (not now.is_chosen_anew or has_files(now, files)):
                continue
            names = [os.path.relpath(path, directory) for path in filled(files, now.count).values()]
            now = chosen[place] = now.model_copy(update={"files": names})
            write_particles(files, now)
            changed[now.index, now.key] = now
            if (stamp := stamp_of(files["candidates"])) is not None:
                written[files["candidates"]] = state[files["candidates"]] = stamp
        keys = dict.fromkeys(one.key for one in chosen)
        lists = [
            _list(directory, [one for one in chosen if one.key == key], attempt > 0, aside)
            for key in keys
        ]
        _remove_others(directory, lists, aside)
        if _state(directory) == state:
            break
    now_known = {(one.index, one.key): one for one in chosen}
    for one in known:
        now = now_known.get((one.index, one.key), one)
        if now.threshold != one.threshold or not np.array_equal(now.table, one.table):
            changed[now.index, now.key] = now
    return Update(lists, list(changed.values()), [*warnings, *aside, *_bare(directory, lists)])


def renew_pages(directory: Path, lists: Iterable[ParticleList]) -> Iterator[dict[str, Any]]:
    """Write pages of tomograms again that show other particles than there are.

    Yields:
        Rows of the index.
    """
    picked: dict[int, list[Particles]] = {}
    for one in (one for of_one in lists for one in of_one.particles):
        picked.setdefault(one.index, []).append(one)
    alone = not any(directory.glob(page_name("*", alone=False)))
    for index in sorted(picked):
        page = directory / page_name(index, alone)
        every = picked_in(directory, index, picked[index])
        if not page_shows(page, every) and (row := renew_page(page, every)) is not None:
            yield row


def _read(paths: Iterable[Path], contested: Container[Path]) -> tuple[list[Particles], list[str]]:
    """Particles in files, and what is wrong with the others.

    Args:
        contested: files that two jobs have written at a time. A table beside may be that of the
            other one: nobody has changed it.
    """
    found, faults = [], []
    for path in paths:
        try:
            found.append((read_candidates if path in contested else read_with_candidates)(path))
        except PicketError as error:
            faults.append(f"{error}; left out of the list of all tomograms")
    return found, faults


def _left_out(directory: Path, particles: Sequence[Particles]) -> list[str]:
    """A warning of tomograms that are no longer in the dataset."""
    numbers = sorted({one.index for one in particles})
    if not numbers:
        return []
    these = ", ".join(f"particles_{number}_*" for number in numbers[:NAMED])
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return [
        f"{directory}: {these}{more} are of tomograms that inputs no longer have; left out of the "
        "list of all tomograms; move them away"
    ]


def _renamed(particles: Sequence[Particles], inputs: Mapping[int, str]) -> list[str]:
    """A warning of tomograms that have other names now than when they were picked in."""
    others = {one.name: inputs[one.index] for one in particles if one.name != inputs[one.index]}
    if not others:
        return []
    told = [f"{now} as {before}" for before, now in list(others.items())[:NAMED]]
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return [
        f"the list of all tomograms names {', '.join(told)}{more}, as they were called before; run "
        "all of them again"
    ]


def _bare(directory: Path, lists: Iterable[ParticleList]) -> list[str]:
    """A warning of tables that lists lack."""
    tomograms = {one.key: len(one.particles) for one in lists}
    bare = bare_tables(directory).items()
    names = [
        path.name for key, paths in bare if len(paths) + tomograms.get(key, 0) > 1 for path in paths
    ]
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [
        f"{', '.join(names[:NAMED])}{more}: without candidates, as of an earlier version; left out "
        "of the list of all tomograms; pick again with --overwrite of pick, --overwrite-particles "
        "of a run"
    ]


def _state(directory: Path) -> _State:
    """Files of candidates in the order of tomograms, and when each was written."""
    stamps = {path: stamp_of(path) for path in candidate_files(directory)}
    return {path: stamp for path, stamp in stamps.items() if stamp is not None}


def _chosen(found: Sequence[Particles]) -> list[Particles]:
    """The same particles, or others where those of the dataset are to be chosen.

    Those whose places others leave alone are chosen before these.
    """
    chosen: dict[int, Particles] = {}
    waiting = list(range(len(found)))
    while waiting:
        names = {found[place].picking for place in waiting}
        ready = [
            place
            for place in waiting
            if names.isdisjoint(found[place].settings.get("not_in") or ())
        ] or waiting  # each leaves the other alone: neither can come first
        for key in dict.fromkeys(found[place].key for place in ready):
            places = [place for place in ready if found[place].key == key]
            alike = _claimed([found[place] for place in places], chosen.values())
            chosen |= dict(zip(places, _scaled(alike), strict=True))
        waiting = [place for place in waiting if place not in chosen]
    return [chosen[place] for place in range(len(found))]


def _claimed(particles: Sequence[Particles], chosen: Iterable[Particles]) -> list[Particles]:
    """Particles that leave alone what has been chosen by now."""
    result = []
    for one in particles:
        names = one.settings.get("not_in") or ()
        others = [other for other in chosen if other.index == one.index and other.picking in names]
        pool = one.pool or one.edited
        if pool is not None:
            claimed = claimed_by(pool.candidates, others)
            if not np.array_equal(claimed, pool.claimed):
                pool = replace(pool, claimed=claimed)
                edited = one.model_copy(update={"edited": pool})
                one = one.chosen_by(pool) if one.edited is None else edited
        result.append(one)
    return result


def _scaled(particles: Sequence[Particles]) -> list[Particles]:
    """Particles on the scale that their threshold is of: their tomogram's, or that of all tomograms
    with equal settings."""
    result = []
    of_all: list[tuple[dict[str, Any], int, Scale, float | None]] = []  # settings cannot be keys
    for one in particles:
        pool = one.pool
        if pool is None:  # of a table that was changed by hand
            result.append(one)
            continue
        scale, common, of = Scale.of([pool.free]), None, "tomogram"
        if one.asks_for_all:
            settings = of_picks(one.settings)
            known = [each for each in of_all if each[0] == settings]
            if not known:
                alike = [other for other in particles if of_picks(other.settings) == settings]
                each = [other.pool or other.edited for other in alike]
                pools = [pool for pool in each if pool is not None]
                known = [(settings, len(pools), *_of_all(pools))]
                of_all += known
            ((_, number, shared, least),) = known
            if number > 1:
                scale = shared
            # Probabilities have a threshold of their own, whatever heights have.
            if number > 1 and (not pool.is_learned or one.settings["threshold"] == "dataset"):
                common, of = least, "dataset"
        if (scale, common, of) != (pool.scale, pool.common, one.threshold_of):
            one = one.chosen_by(replace(pool, scale=scale, common=common), threshold_of=of)
        result.append(one)
    return result


def on_scale_of_numbers(particles: Sequence[Particles]) -> list[Particles]:
    """Particles of one workflow and name in all tomograms, with heights on the scale that a number
    as ``threshold`` would be on: where it is a word, that may be another."""
    return _scaled(
        [
            one.model_copy(update={"settings": one.settings | {"threshold": 0.0}})
            for one in particles
        ]
    )


def _of_all(pools: Sequence[Pool]) -> tuple[Scale, float | None]:
    """The scale of candidates of several tomograms together, and the threshold of all
    probabilities where answers rank them."""
    scale = Scale.of([pool.free for pool in pools])
    ranked = [replace(pool, scale=scale).ranked().heights for pool in pools if pool.is_learned]
    return scale, otsu(np.concatenate(ranked)) if ranked else None


def _list(
    directory: Path, particles: list[Particles], again: bool, aside: list[str]
) -> ParticleList:
    """Write the list of all tomograms, if there are several.

    Args:
        again: also where it seems to be there: another job may have written a part of it.
        aside: what to tell of tables that were put aside, to which this adds.
    """
    key = particles[0].key
    stem = list_name(*key)
    warnings = [*_unequal(particles), *_of_one_hill(particles)]
    names = [one.run_name for one in particles]
    twice = next((one for one in particles if names.count(one.run_name) > 1), None)
    files: dict[str, Path] = {}
    if twice is not None:
        warnings.append(
            f"{stem}: not written, because several tomograms are called {twice.run_name}; set name "
            "in inputs"
        )
    elif len(particles) > 1:
        formats = {name for one in particles for name in one.settings.get("formats") or ()}
        bare = [one for one in particles if "binning" not in one.settings]
        if "relion4" in formats and bare:
            formats.remove("relion4")
            ending = FURTHER["relion4"]["relion4"]
            warnings.append(
                f"{stem}{ending}: not written, because {_named(bare)} picked without binning; set "
                "formats and binning for all"
            )
        named = particle_files(directory / stem, sorted(formats))
        count = sum(one.count for one in particles)
        wanted = [kind for kind in filled(named, count) if FORMATS[kind].several]
        files = {kind: named[kind] for kind in (*wanted, ABOUT)}
        sizes = dict.fromkeys(f"{one.voxel_size[2]:.6g}" for one in particles if one.count)
        if "warp" in files and len(sizes) > 1:
            warnings.append(
                f"{files['warp'].name}: is in voxels of {' and '.join(sizes)} angstrom, and "
                "--coords_angpix of WarpTools is one number; run each voxel size on its own"
            )
        about = _about(particles)
        there = all(path.exists() for path in files.values())
        if again or not there or _read_about(files[ABOUT]).partition(_TABLE)[0] != about:
            _remove(directory, stem, aside)
            for kind in wanted:
                FORMATS[kind].write(files[kind], particles)
            table = _digest_of(files["csv"])
            last = "" if table is None else f"{_TABLE}{table}\n"
            with atomic_file(files[ABOUT]) as temporary:
                temporary.write_text(about + last, encoding="utf-8")
    return ParticleList(key, particles, files, warnings)


def _remove(directory: Path, stem: str, aside: list[str]) -> None:
    """Remove the files of a list, the one by which it is known last; a table that a person has
    changed gets another name."""
    files = particle_files(directory / stem, FURTHER)
    with suppress(FileNotFoundError):  # another job has just removed it
        if _is_edited(files["csv"], files[ABOUT]) and are_settled(files["csv"], files[ABOUT]):
            kept = rename_aside(files["csv"])
            aside.append(
                f"{files['csv'].name}: was changed by hand, and is written again; the changed list "
                f"is kept as {kept}: change the tables of its tomograms in its place"
            )
    for kind in sorted(files, key=lambda kind: kind == ABOUT):
        files[kind].unlink(missing_ok=True)


def _is_edited(table: Path, about: Path) -> bool:
    """Whether a person has changed the table of a list since both were written, it first."""
    _, mark, digest = _read_about(about).partition(_TABLE)
    stamps = stamp_of(table), stamp_of(about)
    if not mark or stamps[0] is None or stamps[1] is None or stamps[0][0] <= stamps[1][0]:
        return False
    return _digest_of(table) not in (None, digest.strip())


def _digest_of(table: Path) -> str | None:
    """Digest of a file; None where another job has just removed it."""
    try:
        return sha256(table.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _remove_others(directory: Path, lists: Sequence[ParticleList], aside: list[str]) -> None:
    """Remove lists of earlier times that are not among these, as `_remove` does."""
    known = {path for one in lists for path in one.files.values()}
    for path in directory.glob(f"particles_*{PARTICLES[ABOUT]}"):
        is_list = not path.stem.split("_")[1].isdigit() and path not in known
        if is_list and _read_about(path).startswith(_HEAD):
            _remove(directory, path.stem, aside)


def _read_about(path: Path) -> str:
    """What a file says of a list; nothing where it is not there, or no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _about(particles: Sequence[Particles]) -> str:
    """What a list is of, as YAML: settings, and of each tomogram the particles and the threshold.

    It differs where the list does.
    """
    hashed = sha256()
    for one in particles:
        hashed.update(np.ascontiguousarray(one.table).tobytes())
    about = {
        "version": version("picket-gpu"),
        "digest": hashed.hexdigest()[:32],
        "workflow": "-".join(particles[0].workflow),
        "particles": particles[0].settings,
        "count": sum(one.count for one in particles),
        "tomograms": [
            {
                "index": one.index,
                "name": one.run_name,
                "particles": one.count,
                "threshold": one.threshold,
                "threshold_of": one.threshold_of,
                **({} if one.settings == particles[0].settings else {"settings": one.settings}),
            }
            for one in particles
        ],
    }
    text: str = yaml.safe_dump(about, allow_unicode=True, sort_keys=False, default_flow_style=None)
    return f"{_HEAD}\n{text}"


def _unequal(particles: Sequence[Particles]) -> list[str]:
    """A warning where tomograms were picked in with different settings."""
    first = of_picks(particles[0].settings)
    others = [one for one in particles if of_picks(one.settings) != first]
    if not others:
        return []
    return [
        f"{particles[0].title}: {_named(others)} picked with other settings than "
        f"{particles[0].run_name}; pick in all of them again with --overwrite"
    ]


def _of_one_hill(particles: Sequence[Particles]) -> list[str]:
    """A line on tomograms whose own heights have no threshold."""
    lent = [one for one in particles if one.threshold_of == "dataset"]
    told = [
        f"{one.run_name} ({one.count}, {one.pool.alone().choose(one.settings).count} by its own)"
        for one in lent
        if one.pool is not None and one.settings.get("threshold") == "auto"
    ]
    if not told:
        return []
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return [
        f"{lent[0].title}: heights of candidates form one hill, not two, in "
        f"{', '.join(told[:NAMED])}{more}; particles there are those by the threshold of all "
        "tomograms, check them in the report"
    ]


def _named(particles: Sequence[Particles]) -> str:
    names = [one.run_name for one in particles]
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more were"
    return f"{', '.join(names)} {'was' if len(names) == 1 else 'were'}"
