"""The ECS task and service: AWS's own model of the calls, and what the model does not know."""

import json
import re

import pytest

from support import tools
from support.cloud import filled, variables
from support.settings import MARGIN, auto_memory, drain, effective, seconds

# CPU units and the MiB that Fargate allows with them.
FARGATE = {"256": (512, 2048), "512": (1024, 4096), "1024": (2048, 8192), "2048": (4096, 16384)}
FARGATE_LONGEST_STOP = 120
# What a load balancer has unless it is changed; ours is in the README.
BALANCER_IDLE = 60


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    texts = filled("deploy/ecs", tmp_path_factory.mktemp("ecs"))
    return {name: json.loads(text) for name, text in texts.items()}


@pytest.fixture(scope="module")
def task(files):
    return files["task-definition.json"]


@pytest.fixture(scope="module")
def containers(task):
    return {container["name"]: container for container in task["containerDefinitions"]}


def model(operation):
    try:
        import botocore.session
    except ImportError:
        tools.absent("botocore is not installed")
    return botocore.session.get_session().get_service_model("ecs").operation_model(operation).input_shape


def faults(value, shape, path="request"):
    """What botocore leaves to the server: a value that its enumeration does not have."""
    if shape.type_name == "structure":
        for name, part in value.items():
            yield from faults(part, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, part in enumerate(value):
            yield from faults(part, shape.member, f"{path}[{index}]")
    elif shape.type_name == "map":
        for name, part in value.items():
            yield from faults(part, shape.value, f"{path}.{name}")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value} is none of {shape.enum}"


@pytest.mark.parametrize(("name", "operation"), [
    ("task-definition.json", "RegisterTaskDefinition"),
    ("service.json", "CreateService"),
])
def test_aws_knows_every_field(files, name, operation):
    shape = model(operation)
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(files[name], shape)
    assert not report.has_errors(), report.generate_report()
    assert list(faults(files[name], shape)) == []


def test_the_drain_ends_before_the_kill_and_fargate_allows_it(containers, binary):
    values = effective(binary, variables(containers["nessen"]["environment"]))
    stop = containers["nessen"]["stopTimeout"]
    assert drain(values) + MARGIN <= stop <= FARGATE_LONGEST_STOP
    # ECS stops in reverse: what Nessen depends on outlives it.
    assert containers["nessen"]["dependsOn"] == [{"containerName": "app", "condition": "HEALTHY"}]


def test_the_balancer_closes_idle_connections_first(containers, binary):
    values = effective(binary, variables(containers["nessen"]["environment"]))
    assert seconds(values["limits.idle_timeout"]) > BALANCER_IDLE


def test_the_health_check_runs_without_a_shell_and_tells(containers, nessen, binary):
    exec_form, *command = containers["nessen"]["healthCheck"]["command"]
    assert (exec_form, command[0]) == ("CMD", "/nessen")
    environment = variables(containers["nessen"]["environment"]) | {"ADMIN_PORT": "", "TRUSTED_PROXIES": ""}
    server = nessen(**environment | {"PORT": "0", "DRAIN_DELAY": "0s"})
    inside = {"PORT": server.address.rpartition(":")[2]}
    assert tools.run(binary, *command[1:], check=False, env=inside).returncode == 0
    server.kill()
    assert tools.run(binary, *command[1:], check=False, env=inside).returncode == 1
    check = containers["nessen"]["healthCheck"]
    assert check["timeout"] > 3, "the command's own time-out comes first, and says so"


def test_the_container_may_do_nothing_but_serve(containers):
    container = containers["nessen"]
    assert container["user"].split(":") == ["65532", "65532"]
    assert container["readonlyRootFilesystem"] is True
    for each in containers.values():
        assert each["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
        assert each["essential"] is True and not each.get("privileged")


def test_secrets_are_references(files, containers):
    for container in containers.values():
        for secret in container.get("secrets", []):
            assert re.match(r"arn:aws:(secretsmanager|ssm):", secret["valueFrom"])
        for name in variables(container.get("environment", [])):
            assert not re.search(r"TOKEN|SECRET|PASSWORD|KEY|DATABASE", name)
    assert containers["app"]["secrets"], "the example of one"


def test_the_task_is_of_a_size_that_fargate_has(task, containers, binary):
    least, most = FARGATE[task["cpu"]]
    assert least <= int(task["memory"]) <= most
    assert sum(container["cpu"] for container in containers.values()) <= int(task["cpu"])
    assert sum(container["memory"] for container in containers.values()) <= int(task["memory"])
    budget = auto_memory(containers["nessen"]["memory"] << 20)
    effective(binary, variables(containers["nessen"]["environment"]) | {"MEMORY_BUDGET": budget})


def test_what_is_exposed_is_what_is_listened_on(files, containers, binary):
    values = effective(binary, variables(containers["nessen"]["environment"]))
    ports = {mapping["name"]: mapping["containerPort"] for mapping in containers["nessen"]["portMappings"]}
    assert ports == {"http": int(values["server.port"]), "admin": int(values["admin.port"])}
    assert "portMappings" not in containers["app"]
    [balancer] = files["service.json"]["loadBalancers"]
    assert (balancer["containerName"], balancer["containerPort"]) == ("nessen", ports["http"])
    # The metrics are not behind the load balancer.
    assert ports["admin"] != balancer["containerPort"]


def test_a_deployment_that_fails_is_rolled_back_with_the_old_tasks_serving(files, task):
    service = files["service.json"]
    deployment = service["deploymentConfiguration"]
    assert deployment["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert deployment["minimumHealthyPercent"] == 100 and deployment["maximumPercent"] > 100
    assert service["healthCheckGracePeriodSeconds"] > 0
    assert service["taskDefinition"] == task["family"]
    assert service["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
    assert service["launchType"] in task["requiresCompatibilities"]
