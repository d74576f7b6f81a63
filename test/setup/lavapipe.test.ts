import { test } from "uvu";
import * as assert from "uvu/assert";
import { backportsEntry } from "#src/setup/lavapipe.js";

const deb822 = `# The mirror of this house.
Types: deb deb-src
URIs: http://mirror.example/debian
# Updates come from there too.
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGA
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`;
const sources = (text: string) => [{ path: "/etc/apt/sources.list.d/debian.sources", text }];
const list = (text: string) => [{ path: "/etc/apt/sources.list", text }];

test("a stanza is copied with its mirror and key, for the backports suite", () => {
  const entry = backportsEntry(sources(deb822), "bookworm");
  assert.equal(entry, {
    extension: ".sources",
    text: [
      "Types: deb",
      "URIs: http://mirror.example/debian",
      "Suites: bookworm-backports",
      "Components: main contrib",
      "Signed-By: -----BEGIN PGP PUBLIC KEY BLOCK-----",
      " .",
      " mQINBGA",
      " -----END PGP PUBLIC KEY BLOCK-----",
      "",
    ].join("\n"),
  });
});

test("a line is copied with its options", () => {
  const text =
    "# deb http://old.example/debian bookworm main\ndeb [signed-by=/k.gpg arch=amd64] http://m.example/debian bookworm main # ours\n";
  assert.equal(backportsEntry(list(text), "bookworm"), {
    extension: ".list",
    text: "deb [signed-by=/k.gpg arch=amd64] http://m.example/debian bookworm-backports main\n",
  });
  const plain = backportsEntry(list("deb mirror+file:/etc/apt/mirrors.list bookworm main non-free\n"), "bookworm");
  assert.equal(plain, {
    extension: ".list",
    text: "deb mirror+file:/etc/apt/mirrors.list bookworm-backports main non-free\n",
  });
});

test("a vendor's archive for the same release is not taken for Debian's", () => {
  const vendor = "deb [signed-by=/v.gpg] https://apt.vendor.example bookworm main\n";
  const entry = backportsEntry(
    [{ path: "/etc/apt/sources.list.d/a.list", text: vendor }, ...sources(deb822)],
    "bookworm",
  );
  assert.match((entry as { text: string }).text, "http://mirror.example/debian\n");
});

test("a suite that is there is not added again, and a disabled one is not there", () => {
  const backports = "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm-backports\nComponents: main\n";
  assert.is(backportsEntry([...sources(deb822), ...sources(backports)], "bookworm"), "present");
  assert.not.equal(
    backportsEntry([...sources(deb822), ...sources(`Enabled: no\n${backports}`)], "bookworm"),
    "present",
  );
});

test("without an entry of the release there is nothing to copy", () => {
  assert.is(backportsEntry([], "bookworm"), null);
  assert.is(backportsEntry(sources(deb822), "trixie"), null);
  assert.is(backportsEntry(list("deb-src http://m.example/debian bookworm main\n"), "bookworm"), null);
});

test.run();
