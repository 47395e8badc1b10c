#!/usr/bin/env bash
# Build the wheel of this checkout and the image of a calculator, and print the size and the sha256 of the image (with
# Docker and Podman, its id).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<USAGE
usage: containers/build.sh NAME [options]

  NAME             base (EMT), sevennet, mace, chgnet or gpaw
  --engine ENGINE  the program that builds the image: apptainer (default), podman or docker
  --base BASE      the base image; default docker://docker.io/library/python:3.11-slim. Apptainer accepts
                   docker://IMAGE, oras://IMAGE, a folder, a .sif, or an archive (.tar) from docker save or podman save;
                   Docker and Podman accept docker://IMAGE, or the name of a local image
  --device DEVICE  cpu (default) or cuda; a cuda image runs on both, with 'apptainer exec --nv' on a GPU
  --model FILE     a model file to include in the image, in /opt/mlip/share/models
  --wheel FILE     the wheel of this package; by default it is built from this checkout
  --output OUTPUT  the file of the image, by default NAME.sif; for Docker and Podman its name, mlip-autopipe-NAME
  --fast           compress less, for tests

Docker and Podman are also passed the options in the variable BUILD_OPTIONS, such as --network=host.
USAGE
}
fail() {
    echo "build.sh: $*" >&2
    exit 1
}

name=${1:-}
case $name in
base | sevennet | mace | chgnet | gpaw) shift ;;
'' | -h | --help) usage && exit 0 ;;
*) fail "unknown image '$name'; use base, sevennet, mace, chgnet or gpaw" ;;
esac
base=docker://docker.io/library/python:3.11-slim engine=apptainer device=cpu model='' wheel='' output='' compression=()
while (($#)); do
    case $1 in
    --engine | --base | --device | --model | --wheel | --output)
        (($# > 1)) || fail "$1 needs a value"
        declare "${1#--}=$2"
        shift
        ;;
    --fast) compression=(--mksquashfs-args '-comp zstd -Xcompression-level 1') ;;
    *) fail "unknown option '$1'; see build.sh --help" ;;
    esac
    shift
done
[[ $device == cpu || $device == cuda ]] || fail "--device must be cpu or cuda, not '$device'"
for file in "$model" "$wheel"; do [[ -z $file || -f $file ]] || fail "the file '$file' does not exist"; done
case $engine in
apptainer | podman | docker) ;;
*) fail "--engine must be apptainer, podman or docker, not '$engine'" ;;
esac
command -v "$engine" >/dev/null || fail "$engine is not installed on this machine"
case $base in
docker://* | oras://* | library://*) bootstrap=${base%%://*} from=${base#*://} ;;
*) bootstrap=localimage from=$base ;;
esac
if [[ $engine == apptainer && $base != *://* ]]; then
    [[ -e $base ]] || fail "the base '$base' does not exist"
    [[ $base != *.tar ]] || bootstrap=docker-archive
    from=$(realpath "$base")
fi

# The definition copies the contents of the image from this folder.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
context=$folder/context
mkdir -p "$context/models"
cp "$here"/install.sh "$here"/one_step.py "$here"/../constraints*.txt \
    "$here"/../aiida_mlip_autopipe/installation/gpaw_siteconfig.py "$context"
[[ -z $model ]] || cp "$model" "$context/models"
if [[ -n $wheel ]]; then
    cp "$wheel" "$context"
else
    python3 -m pip wheel --quiet --no-deps --wheel-dir "$context" "$here/.."
fi
commit=$(git -C "$here" describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)

if [[ $engine != apptainer ]]; then
    output=${output:-mlip-autopipe-$name}
    # shellcheck disable=SC2086  # words
    "$engine" build ${BUILD_OPTIONS:-} --file "$here/Containerfile" --tag "$output" --build-arg FROM="$from" \
        --build-arg CALCULATOR="$name" --build-arg DEVICE="$device" --build-arg COMMIT="$commit" "$context"
    echo "$output: $("$engine" image inspect --format '{{.Size}} bytes, {{.Id}}' "$output")"
    exit 0
fi

output=${output:-$name.sif}
target=$(realpath "$output")
cd "$folder"
# --fakeroot lets ordinary users build. APPTAINER_NO_PRIVS lets root build without privileges that it may lack.
APPTAINER_NO_PRIVS=${APPTAINER_NO_PRIVS-1} apptainer --quiet build --fakeroot --force "${compression[@]}" \
    --build-arg BOOTSTRAP="$bootstrap" --build-arg FROM="$from" --build-arg DEVICE="$device" \
    --build-arg COMMIT="$commit" "$target" "$here/$name.def"
echo "$output: $(($(stat --format %s "$target") / 1000000)) MB, sha256 $(sha256sum "$target" | cut -d' ' -f1)"
