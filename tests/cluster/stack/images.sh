#!/usr/bin/env bash
# Build images for the tests: `images.sh NAME…` (base, sevennet, mace, gpaw). No image registry is needed: the base is a
# small Debian, and the packages come from the environments of the tests. For each image, the script also makes an
# environment on the cluster for jobs without a container. Images that are up to date are kept.
source "$(dirname "$0")/settings.sh"
ROOT=$(cd "$(dirname "$0")/../../.." && pwd)
ROOTS=$STACK/roots IMAGES=$STACK/images SOFTWARE=$STACK/software
mkdir -p "$ROOTS" "$IMAGES" "$SOFTWARE"

make_debian() {
    [[ ! -d $ROOTS/debian ]] || return 0
    rm -rf "$ROOTS/debian.new"
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -- -security | head -n 1)
    mmdebstrap --quiet --variant=essential --mode=root --skip=output/dev \
        --include=python3-minimal,libpython3-stdlib,libgomp1,libstdc++6 \
        --dpkgopt='path-exclude=/usr/share/'{man,locale,doc,info,zoneinfo}'/*' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists "$1"/var/cache/apt "$1"/var/cache/debconf "$1"/var/log/*' \
        bookworm "$ROOTS/debian.new" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
    # Ordinary users cannot create device files, and a container uses those of the host.
    rm -rf "$ROOTS"/debian.new/dev/*
    mv "$ROOTS/debian.new" "$ROOTS/debian"
}

# make_root NAME: Debian and all packages of an image except this package, as links to the files of the environment.
make_root() {
    local root=$ROOTS/$1 python=$ROOT/.venv/bin/python requirement=aiida-mlip-autopipe
    [[ $1 == base ]] || requirement+="[$1]"
    [[ $1 != mace ]] || python=${MLIP_AUTOPIPE_MACE_PYTHON:-$ROOT/.venv-mace/bin/python}
    rm -rf "$root"
    cp -al "$ROOTS/debian" "$root"
    mkdir -p "$root/opt"
    /usr/bin/python3.11 -m venv --without-pip "$SOFTWARE/$1.new"
    mv "$SOFTWARE/$1.new" "$root/opt/mlip"
    "$python" "$ROOT/tests/cluster/stack/copy_environment.py" "$requirement" "$root/opt/mlip/lib/python3.11/site-packages"
    [[ $1 != gpaw ]] || copy_libraries "$root/opt/mlip/lib/python3.11/site-packages"/_gpaw*.so "$root"
}

# copy_libraries FILE ROOT: the libraries of this machine that FILE needs and ROOT lacks.
copy_libraries() {
    local library
    for library in $(ldd "$1" | awk '/=> \// {print $3}'); do
        [[ -e $2/$library ]] || cp --dereference "$library" "$2/$library"
    done
}

# install_on_cluster NAME WHEEL: an environment with the same files, for jobs without a container.
install_on_cluster() {
    local venv=$SOFTWARE/$1
    rm -rf "$venv"
    /usr/bin/python3.11 -m venv --without-pip "$venv"
    echo "$ROOTS/$1/opt/mlip/lib/python3.11/site-packages" >"$venv/lib/python3.11/site-packages/shared.pth"
    "$venv/bin/python" -m pip install --quiet --no-deps --no-index --disable-pip-version-check --root-user-action=ignore "$2"
}

# The hash of the sources of the images. An image is rebuilt if this has changed.
fingerprint() {
    (cd "$ROOT" && cat constraints*.txt pyproject.toml containers/* $(find aiida_mlip_autopipe -name '*.py' | sort) | sha256sum)
}

make_debian
say Debian
wheel=
for name in "$@"; do
    if [[ -s $IMAGES/$name.sif && $(cat "$IMAGES/$name.made-from" 2>/dev/null) == "$(fingerprint)" ]]; then
        say "$name is up to date"
        continue
    fi
    if [[ -z $wheel ]]; then
        rm -rf "$STACK/wheel"
        "$ROOT/.venv/bin/python" -m build --wheel --outdir "$STACK/wheel" "$ROOT" >"$LOGS/wheel.log" 2>&1 || fail "the wheel cannot be built; see $LOGS/wheel.log"
        wheel=$(ls "$STACK"/wheel/*.whl)
    fi
    make_root "$name"
    install_on_cluster "$name" "$wheel"
    "$ROOT/containers/build.sh" "$name" --base "$ROOTS/$name" --wheel "$wheel" --fast --output "$IMAGES/$name.sif" \
        >"$LOGS/image-$name.log" 2>&1 || {
        tail "$LOGS/image-$name.log" >&2
        fail "the image $name cannot be built"
    }
    fingerprint >"$IMAGES/$name.made-from"
    say "$(tail -n 1 "$LOGS/image-$name.log")"
done
