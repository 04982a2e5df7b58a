#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_text.py FOLDER: the text that smollm2-hybrid-32k learnt from, as plain .txt files. Needs Debian 12's apt-get and dpkg;
fetches the packages below (about 60 MB) and installs none of them."""
import html
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zlib

# package, files taken, folder they go to: manuals, a handbook, essays, novels. Licences: DATA_SHEET.md.
TAKEN = [("python3.11-doc", "usr/share/doc/**/_sources/**/*.rst.txt", "manuals"),
         ("git-doc", "usr/share/doc/**/*.txt", "manuals"),
         ("debian-handbook", "usr/share/doc/debian-handbook/html/en-US/*.html", "prose"),
         ("debian-policy", "usr/share/doc/debian-policy/policy.txt*", "manuals"),
         ("anarchism", "usr/share/doc/anarchism/markdown/*", "prose"),
         ("jargon-text", "usr/share/doc/jargon-text/jargon*", "prose"),
         ("r-cran-janeaustenr", "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb", "novels")]


def from_html(page):
    page = re.sub(r"(?is)<(script|style|head|nav)\b.*?</\1>", " ", page)
    page = re.sub(r"(?i)</?(p|div|li|h\d|tr|dt|dd|pre|br|table|ul|ol)\b[^>]*>", "\n", page)
    page = html.unescape(re.sub(r"<[^>]+>", "", page))
    return re.sub(r"\n\s*\n+", "\n\n", re.sub(r"[ \t]+", " ", page)).strip()


def strings_of_r(data):
    """Texts of R's serialised character vectors (CHARSXP: type 9, then a big-endian length), one a line of a book."""
    at, found = 0, []
    while (at := data.find(b"\x00\x04\x00\x09", at)) >= 0:
        length, = struct.unpack(">i", data[at + 4:at + 8])
        if not 0 <= length < 1000 or at + 8 + length > len(data):
            at += 1
            continue
        found.append(data[at + 8:at + 8 + length].decode("utf-8", "replace"))
        at += 8 + length
    return found


def books(rdb):
    """A lazy-load database of R: pieces of a length and a zlib stream, one for each book."""
    at = 0
    while at + 4 < len(rdb):
        stream = zlib.decompressobj()
        try:
            data = stream.decompress(rdb[at + 4:])
        except zlib.error:
            at += 1
            continue
        at = len(rdb) - len(stream.unused_data)
        if len(lines := strings_of_r(data)) > 1000:
            yield "\n".join(lines)


def main():
    out = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        for package, files, part in TAKEN:
            subprocess.run(["apt-get", "download", package], cwd=scratch, check=True)
            deb, = pathlib.Path(scratch).glob(f"{package}_*.deb")
            root = pathlib.Path(scratch) / package
            subprocess.run(["dpkg", "-x", deb, root], check=True)
            texts = []
            for file in sorted(f for f in root.glob(files) if f.is_file() and not f.is_symlink()):
                data = file.read_bytes()
                if file.suffix == ".rdb":
                    texts += books(data)
                    continue
                data = zlib.decompress(data, 47) if file.suffix == ".gz" else data
                text = data.decode("utf-8", "replace")
                texts.append(from_html(text) if file.suffix == ".html" else text)
            folder = out / part
            folder.mkdir(parents=True, exist_ok=True)
            for i, text in enumerate(texts):
                (folder / f"{package}-{i:04}.txt").write_text(text)
            print(f"{package}: {len(texts)} texts, {sum(map(len, texts)) / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
