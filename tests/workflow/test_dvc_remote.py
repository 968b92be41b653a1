"""Claims about shared storage: the S3 protocol, served on this machine."""

import subprocess
from collections.abc import Iterator
from os import environ
from pathlib import Path

import boto3
import pytest
import versioned
from moto.server import ThreadedMotoServer
from versioned import clone, clone_with_data, is_clean, planned, sh, weights

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Commands that point a project to a bucket on a local server."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="benchmark")
    local = "dvc remote modify --local storage"
    yield f"{local} url s3://benchmark/store && {local} endpointurl {address}"
    server.stop()


def push(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(["dvc", "push"], cwd=folder, env=environ | versioned.environment(folder))


@pytest.mark.slow
def test_two_users_push_at_once_and_a_third_gets_the_states_of_both(project, changed, bucket):
    users = [clone_with_data(project, "ann"), clone_with_data(changed, "ben")]
    for user in users:
        sh(bucket, user)
    assert [process.wait() for process in [push(user) for user in users]] == [0, 0]
    third = clone(changed, "third")
    sh(f"{bucket} && dvc pull", third)
    assert weights(third) == weights(changed)
    assert planned(third) == {} and is_clean(third)
    sh("git checkout --quiet HEAD~1 && dvc pull", third)
    assert weights(third) == weights(project)
    assert planned(third) == {} and is_clean(third)
