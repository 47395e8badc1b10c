#!/usr/bin/env bash
# Build the image of a calculator: the wheel of this checkout, then the image. Prints its size and sha256.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<USAGE
usage: containers/build.sh NAME [options]

  NAME             base (EMT), sevennet, mace or chgnet
  --base BASE      what the image stands on: docker://IMAGE, oras://IMAGE, a folder, a .sif, or an archive that docker
                   or podman saved (.tar); default docker://python:3.11-slim
  --device DEVICE  cpu (default) or cuda; a cuda image runs on both, with 'apptainer exec --nv' on a GPU
  --model FILE     a model file to build into the image, under /opt/mlip/share/models
  --wheel FILE     the wheel of this package; default: built from this checkout
  --output FILE    default: NAME.sif
  --fast           compress less: for tests
USAGE
}
fail() {
    echo "build.sh: $*" >&2
    exit 1
}

name=${1:-}
case $name in
base | sevennet | mace | chgnet) shift ;;
'' | -h | --help) usage && exit 0 ;;
*) fail "there is no image '$name'; there are base, sevennet, mace and chgnet" ;;
esac
base=docker://python:3.11-slim device=cpu model='' wheel='' output=$name.sif compression=()
while (($#)); do
    case $1 in
    --base | --device | --model | --wheel | --output)
        (($# > 1)) || fail "$1 wants a value"
        declare "${1#--}=$2"
        shift
        ;;
    --fast) compression=(--mksquashfs-args '-comp zstd -Xcompression-level 1') ;;
    *) fail "unknown option '$1'; see build.sh --help" ;;
    esac
    shift
done
[[ $device == cpu || $device == cuda ]] || fail "--device is cpu or cuda, not '$device'"
for file in "$model" "$wheel"; do [[ -z $file || -f $file ]] || fail "there is no file '$file'"; done
case $base in
docker://* | oras://* | library://*) bootstrap=${base%%://*} from=${base#*://} ;;
*.tar) bootstrap=docker-archive from=$(realpath --canonicalize-missing "$base") ;;
*) bootstrap=localimage from=$(realpath --canonicalize-missing "$base") ;;
esac
[[ $base == *://* || -e $from ]] || fail "there is no base '$base'"
command -v apptainer >/dev/null || fail 'apptainer is not installed here (https://apptainer.org)'

# The files that go into the image are gathered in a folder, from which the definition takes them.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
context=$folder/context
mkdir -p "$context/models"
cp "$here"/install.sh "$here"/one_step.py "$here"/../constraints*.txt "$context"
[[ -z $model ]] || cp "$model" "$context/models"
if [[ -n $wheel ]]; then
    cp "$wheel" "$context"
else
    python3 -m pip wheel --quiet --no-deps --wheel-dir "$context" "$here/.."
fi
commit=$(git -C "$here" describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)

target=$(realpath "$output")
cd "$folder"
# --fakeroot: an ordinary user builds too. A build as the machine's root wants no privilege that it may lack.
APPTAINER_NO_PRIVS=${APPTAINER_NO_PRIVS-1} apptainer --quiet build --fakeroot --force "${compression[@]}" \
    --build-arg BOOTSTRAP="$bootstrap" --build-arg FROM="$from" --build-arg DEVICE="$device" \
    --build-arg COMMIT="$commit" "$target" "$here/$name.def"
echo "$output: $(($(stat --format %s "$target") / 1000000)) MB, sha256 $(sha256sum "$target" | cut -d' ' -f1)"
