#!/usr/bin/env python3
"""Writes the container images of the test cluster as OCI archives: there is no registry, so they are imported.

images.py targets DIR PROBE BUSYBOX   DIR/{pause,busybox,distroless}.tar
images.py collector FILE BINARY       one archive that holds BINARY alone, as /quell-collector

Prints `NAME DIGEST` for each. The same inputs give the same digests.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

PAUSE = "quell.test/pause:1"
BUSYBOX = "quell.test/busybox:1"
DISTROLESS = "quell.test/distroless:1"
COLLECTOR = "quell.dev/collector:test"

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
DIRECTORIES = {"tmp": 0o1777, **dict.fromkeys(["bin", "etc", "root", "run", "usr", "usr/bin", "var", "proc", "sys", "dev"], 0o755)}


def archive(path_or_buffer, entries):
    """Writes (name, mode, content) entries: bytes are a file, a string is a symbolic link, None is a directory."""
    mode = {"name": path_or_buffer} if isinstance(path_or_buffer, Path) else {"fileobj": path_or_buffer}
    with tarfile.open(mode="w", **mode) as tar:
        for name, permissions, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = permissions
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)


def write_image(path, name, entries, entrypoint, cmd):
    """Writes one image of one layer and prints its name and digest."""
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(value, media_type):
        return blob(json.dumps(value, sort_keys=True).encode(), media_type)

    kind = "application/vnd.oci.image."
    buffer = io.BytesIO()
    archive(buffer, entries)
    layer = blob(buffer.getvalue(), kind + "layer.v1.tar")
    config = document(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Cmd": cmd, "Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        },
        kind + "config.v1+json",
    )
    manifest = document(
        {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": config, "layers": [layer]},
        kind + "manifest.v1+json",
    )
    index = {"schemaVersion": 2, "manifests": [{**manifest, "annotations": {"io.containerd.image.name": name}}]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    files |= {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    archive(Path(path), [(file, 0o644, data) for file, data in files.items()])
    print(name, manifest["digest"])


def targets(directory, probe, busybox):
    """The images of the workloads: what runs every pod's sandbox, one with a shell, one with neither shell nor tar."""
    program, shell = Path(probe).read_bytes(), Path(busybox).read_bytes()
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    base = [(name, mode, None) for name, mode in DIRECTORIES.items()] + [("etc/passwd", 0o644, PASSWD)]
    tools = [("bin/busybox", 0o755, shell), ("bin/probe", 0o755, program)]
    links = [(f"bin/{applet}", 0o777, "busybox") for applet in applets if applet != "busybox"]
    directory = Path(directory)
    write_image(directory / "pause.tar", PAUSE, [("pause", 0o755, program)], ["/pause", "pause"], None)
    write_image(directory / "busybox.tar", BUSYBOX, base + tools + links, None, ["/bin/sh"])
    write_image(directory / "distroless.tar", DISTROLESS, base + [("server", 0o755, program)], ["/server"], None)


def collector(file, binary):
    """The image that is put into a suspect pod."""
    entries = [("quell-collector", 0o755, Path(binary).read_bytes())]
    write_image(file, COLLECTOR, entries, ["/quell-collector"], None)


def main():
    match sys.argv[1:]:
        case ["targets", directory, probe, busybox]:
            targets(directory, probe, busybox)
        case ["collector", file, binary]:
            collector(file, binary)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
