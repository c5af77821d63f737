"""Who may train on what."""

import json
from pathlib import Path

import pytest

from kws.clips import LABELS, Clip, DataError, class_of, gather, official_split, read_folder
from kws.speech import recordings


def test_real_names_fall_where_the_official_lists_say(shared_data: Path) -> None:
    """The shared data's dev part is the official validation list, its test part is from the testing list."""
    rows = [json.loads(x) for x in (shared_data / "speech_commands/manifest.jsonl").read_text().splitlines()]
    clips = [r for r in rows if r["split"] in ("dev", "test")]
    assert len(clips) > 2000
    for row in clips:
        assert official_split(Path(row["audio"]).name) == row["split"], row["audio"]


def test_words_that_are_no_keyword_are_unknown() -> None:
    assert LABELS[class_of("yes")] == "yes"
    assert LABELS[class_of("marvin")] == "_unknown_"
    assert len(LABELS) == len(set(LABELS)) == 12


def manifest(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir()
    (folder / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def test_extra_clips_keep_clear_of_held_out_people(tmp_path: Path) -> None:
    testing = next(f"{n:08x}" for n in range(1000) if official_split(f"{n:08x}_nohash_0.wav") == "test")
    training = [f"{n:08x}" for n in range(1000) if official_split(f"{n:08x}_nohash_0.wav") == "train"]
    main = manifest(
        tmp_path / "main",
        [
            {
                "audio": f"yes/{training[0]}_nohash_0.opus",
                "label": "yes",
                "split": "train",
                "speaker": training[0],
            },
            {
                "audio": f"yes/{training[1]}_nohash_0.opus",
                "label": "yes",
                "split": "test",
                "speaker": training[1],
            },
        ],
    )
    row = {"label": "yes", "split": "train"}
    extra = manifest(
        tmp_path / "extra",
        [
            row | {"audio": f"yes/{training[0]}_nohash_0.wav", "speaker": training[0]},  # known already
            row | {"audio": f"yes/{training[0]}_nohash_1.wav", "speaker": training[0]},  # new: kept
            row | {"audio": f"yes/{training[1]}_nohash_1.wav", "speaker": training[1]},  # a test speaker
            row | {"audio": f"yes/{testing}_nohash_0.wav", "speaker": testing},  # official testing partition
            row
            | {"audio": "espeak/yes/1.wav", "speaker": "espeak/m1", "engine": "espeak"},  # synthetic: kept
            row | {"audio": "flite/yes/1.wav", "speaker": "flite/kal", "engine": "flite", "split": "heldout"},
        ],
    )
    clips = gather(main, [extra])
    assert [c.audio.name for c in clips[2:]] == [f"{training[0]}_nohash_1.wav", "1.wav"]
    assert {c.label for c in clips} == {"yes"}


def test_official_layout_follows_its_lists(tmp_path: Path) -> None:
    for name in ("yes/aaaaaaaa_nohash_0.wav", "no/bbbbbbbb_nohash_0.wav", "_background_noise_/hum.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "testing_list.txt").write_text("no/bbbbbbbb_nohash_0.wav\n")
    clips = {c.audio.name: c for c in read_folder(tmp_path)}
    assert clips["bbbbbbbb_nohash_0.wav"].split == "test"
    assert clips["hum.wav"].split == "noise"
    assert clips["aaaaaaaa_nohash_0.wav"].speaker == "aaaaaaaa"


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no manifest"):
        read_folder(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.wav"}\n')
    with pytest.raises(DataError, match=r"line 1.*label"):
        read_folder(tmp_path)


def test_a_manifest_is_cut_at_line_ends_alone(tmp_path: Path) -> None:
    row = {"audio": "a.wav", "label": "no", "split": "train", "duration": 1.0, "text": "oh\u2028no\x85so"}
    path = tmp_path / "manifest.jsonl"
    path.write_text(f"\n{json.dumps(row, ensure_ascii=False)}\n\n", encoding="utf-8")
    assert [clip.label for clip in read_folder(tmp_path)] == ["no"]
    assert [(said, line) for _, said, line in recordings(tmp_path)] == [({"no"}, row)]
    path.write_bytes(b'{"audio": "\xff"}')
    for read in (read_folder, lambda folder: list(recordings(folder))):
        with pytest.raises(DataError, match=r"manifest\.jsonl cannot be read"):
            read(tmp_path)
    path.write_text("\n[1]")
    for read in (read_folder, lambda folder: list(recordings(folder))):
        with pytest.raises(DataError, match="line 2"):
            read(tmp_path)


def test_clip_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Clip(Path("a"), "yes", "train", "s").label = "no"  # type: ignore[misc]
