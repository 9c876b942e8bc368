#!/bin/sh
# Installs the programs coordinator, worker and analysis from a release.
#
#   sh install.sh [--prefix DIR] [--version vX.Y.Z] [--releases URL]
#
# DIR is ~/.local by default: DIR/bin, DIR/share/man, completions below DIR/share. The archive is compared with the SHA-256 sums of the
# release before anything of it is unpacked. Needs curl or wget, tar, gzip, and sha256sum or shasum. Nothing is asked, and nothing
# outside DIR is written.
set -eu

releases='@RELEASES@'
version='@VERSION@'
prefix=${HOME:-}/.local

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

while [ $# -gt 0 ]; do
  case "$1" in
    --prefix | --version | --releases)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case "$1" in
        --prefix) prefix=$2 ;;
        --version) version=$2 ;;
        --releases) releases=$2 ;;
      esac
      shift ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1 (--help shows them)" ;;
  esac
  shift
done
# Neither was filled in where this is the file of the sources.
case "$releases" in
  '' | '@'*) fail "say where the releases are: --releases URL" ;;
esac
case "$version" in
  '@'*) fail "say which version: --version vX.Y.Z" ;;
esac

case "$(uname -s)/$(uname -m)" in
  Linux/x86_64) machine=x86_64-unknown-linux-gnu ;;
  Linux/aarch64 | Linux/arm64) machine=aarch64-unknown-linux-gnu ;;
  *) fail "there are no programs for $(uname -s) on $(uname -m): build them with cargo build --release" ;;
esac

get() { # URL FILE
  if command -v curl >/dev/null 2>&1; then
    curl --proto '=https,http,file' --fail --silent --show-error --location --output "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget --quiet --output-document="$2" "$1"
  else
    fail "needs curl or wget"
  fi || fail "cannot get $1"
}

sum() { # FILE
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum "$1"
  else
    shasum -a 256 "$1"
  fi | cut -d' ' -f1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive=k8s-auto-fix-$machine.tar.gz
get "$releases/$version/SHA256SUMS-$machine" "$work/sums"
get "$releases/$version/$archive" "$work/$archive"
wanted=$(sed -n "s/^\([0-9a-f]\{64\}\)  $archive\$/\1/p" "$work/sums")
[ -n "$wanted" ] || fail "the sums of the release do not name $archive"
[ "$(sum "$work/$archive")" = "$wanted" ] || fail "$archive is not what the sums of the release say: nothing was installed"

gzip -dc "$work/$archive" | tar -xf - -C "$work"
from=$work/k8s-auto-fix-$machine
"$from/bin/coordinator" -V >/dev/null ||
  fail "the programs do not start here, perhaps because the C library is too old: build them with cargo build --release"
mkdir -p "$prefix/bin" "$prefix/share/man/man1" "$prefix/share/k8s-auto-fix" "$prefix/share/bash-completion/completions" \
  "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
for program in coordinator worker analysis; do
  # Replaced as one: a program that runs keeps its file.
  cp "$from/bin/$program" "$prefix/bin/.$program.new"
  mv "$prefix/bin/.$program.new" "$prefix/bin/$program"
  cp "$from/completions/$program.bash" "$prefix/share/bash-completion/completions/$program"
  cp "$from/completions/_$program" "$prefix/share/zsh/site-functions/"
  cp "$from/completions/$program.fish" "$prefix/share/fish/vendor_completions.d/"
done
cp "$from"/man/man1/*.1 "$prefix/share/man/man1/"
cp -r "$from/configs" "$from/LICENSE" "$prefix/share/k8s-auto-fix/"
say "$("$prefix/bin/coordinator" -V) is in $prefix/bin; configurations are in $prefix/share/k8s-auto-fix/configs"
case ":$PATH:" in
  *":$prefix/bin:"*) ;;
  *) say "add it to your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
