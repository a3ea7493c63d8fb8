"""Every served operation of every service, called by boto3; each answer is held against botocore's model."""

import io
import json
import os
import time
import zipfile

import model
from wire import Wire

NAME = {"FunctionName": "f"}
HANDLER = "def handler(event, context):\n    print('seen by the logs')\n    return event\n"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
ANYBODY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})
RIGHTS = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}]})


def package(text):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", text)
    return out.getvalue()


def settled(wire):
    """Waits until nothing of the function is under way; each answer on the way there is compared too."""
    while True:
        now = wire.call("GetFunctionConfiguration", **NAME)
        if not now or (now["State"] != "Pending" and now["LastUpdateStatus"] != "InProgress"):
            return now
        time.sleep(0.02)


def functions(wire):
    call = wire.call
    arn = call("CreateFunction", **NAME, Runtime="python3.11", Role=os.environ["ROLE"], Handler="app.handler", Timeout=20,
               Code={"ZipFile": package(HANDLER)}, Environment={"Variables": {"A_B": "c"}}, Tags={"k": "v"},
               LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "DEBUG", "ApplicationLogLevel": "DEBUG"}, TracingConfig={"Mode": "Active"},
               KMSKeyArn="arn:aws:kms:us-east-1:000000000000:key/x", SnapStart={"ApplyOn": "PublishedVersions"},
               EphemeralStorage={"Size": 600}).get("FunctionArn")
    settled(wire)
    call("UpdateFunctionConfiguration", **NAME, Timeout=21, Description="d")
    settled(wire)
    call("UpdateFunctionCode", **NAME, ZipFile=package(HANDLER + "\n"))
    settled(wire)
    call("GetFunction", **NAME)
    call("ListFunctions")
    call("ListFunctions", FunctionVersion="ALL")
    call("TagResource", Resource=arn, Tags={"a": "b"})
    call("ListTags", Resource=arn)
    call("UntagResource", Resource=arn, TagKeys=["a", "k"])
    call("GetAccountSettings")
    call("PutRuntimeManagementConfig", **NAME, UpdateRuntimeOn="FunctionUpdate")
    call("GetRuntimeManagementConfig", **NAME)
    call("PutFunctionRecursionConfig", **NAME, RecursiveLoop="Allow")
    call("GetFunctionRecursionConfig", **NAME)
    call("AddPermission", **NAME, StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    call("GetPolicy", **NAME)
    call("RemovePermission", **NAME, StatementId="s")


def versions(wire):
    call = wire.call
    call("PublishVersion", **NAME, Description="first")
    settled(wire)
    call("UpdateFunctionCode", **NAME, ZipFile=package(HANDLER + "\n\n"), Publish=True)
    settled(wire)
    call("ListVersionsByFunction", **NAME)
    call("CreateAlias", **NAME, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    call("UpdateAlias", **NAME, Name="live", Description="x", RoutingConfig={"AdditionalVersionWeights": {}})
    call("GetAlias", **NAME, Name="live")
    call("ListAliases", **NAME)
    call("PutFunctionConcurrency", **NAME, ReservedConcurrentExecutions=5)
    call("GetFunctionConcurrency", **NAME)
    call("GetFunction", **NAME)
    call("PutProvisionedConcurrencyConfig", **NAME, Qualifier="live", ProvisionedConcurrentExecutions=1)
    call("GetProvisionedConcurrencyConfig", **NAME, Qualifier="live")
    call("ListProvisionedConcurrencyConfigs", **NAME)
    call("DeleteProvisionedConcurrencyConfig", **NAME, Qualifier="live")
    call("DeleteFunctionConcurrency", **NAME)


def layers(wire):
    call, one = wire.call, {"LayerName": "l", "VersionNumber": 1}
    made = call("PublishLayerVersion", LayerName="l", Description="d", LicenseInfo="MIT", Content={"ZipFile": package("X = 1")},
                CompatibleRuntimes=["python3.11"], CompatibleArchitectures=["x86_64", "arm64"])
    call("GetLayerVersion", **one)
    call("GetLayerVersionByArn", Arn=made.get("LayerVersionArn"))
    call("ListLayers", CompatibleRuntime="python3.11")
    call("ListLayerVersions", LayerName="l", CompatibleArchitecture="arm64")
    call("AddLayerVersionPermission", **one, StatementId="s", Action="lambda:GetLayerVersion", Principal="*", OrganizationId="o-0123456789")
    call("GetLayerVersionPolicy", **one)
    call("RemoveLayerVersionPermission", **one, StatementId="s")
    call("UpdateFunctionConfiguration", **NAME, Layers=[made.get("LayerVersionArn")])
    settled(wire)
    call("DeleteLayerVersion", **one)
    call("GetFunction", **NAME)


def signing(wire):
    call, publishers = wire.call, {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}
    made = call("CreateCodeSigningConfig", Description="d", AllowedPublishers=publishers, Tags={"k": "v"},
                CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"})["CodeSigningConfig"]
    config = {"CodeSigningConfigArn": made["CodeSigningConfigArn"]}
    assert call("GetCodeSigningConfig", **config)["CodeSigningConfig"] == made
    updated = call("UpdateCodeSigningConfig", **config, Description="e")["CodeSigningConfig"]
    assert (updated["Description"], updated["AllowedPublishers"]) == ("e", publishers), updated
    assert [c["CodeSigningConfigId"] for c in call("ListCodeSigningConfigs")["CodeSigningConfigs"]] == [made["CodeSigningConfigId"]]
    assert call("ListTags", Resource=config["CodeSigningConfigArn"])["Tags"] == {"k": "v"}
    call("PutFunctionCodeSigningConfig", **NAME, **config)
    assert call("GetFunctionCodeSigningConfig", **NAME)["CodeSigningConfigArn"] == config["CodeSigningConfigArn"]
    assert [arn.rsplit(":", 1)[1] for arn in call("ListFunctionsByCodeSigningConfig", **config)["FunctionArns"]] == ["f"]
    # Nothing is enforced: what isn't signed is taken.
    call("UpdateFunctionCode", **NAME, ZipFile=package(HANDLER + "\n\n\n"))
    settled(wire)
    call("DeleteFunctionCodeSigningConfig", **NAME)
    call("GetFunctionCodeSigningConfig", **NAME)
    call("DeleteCodeSigningConfig", **config)


def urls(wire):
    cors = {"AllowCredentials": True, "AllowOrigins": ["*"], "AllowMethods": ["*"], "AllowHeaders": ["a"], "ExposeHeaders": ["b"], "MaxAge": 1}
    wire.call("CreateFunctionUrlConfig", **NAME, AuthType="NONE", Cors=cors)
    wire.call("UpdateFunctionUrlConfig", **NAME, InvokeMode="RESPONSE_STREAM")
    wire.call("GetFunctionUrlConfig", **NAME)
    wire.call("ListFunctionUrlConfigs", **NAME)
    wire.call("DeleteFunctionUrlConfig", **NAME)


def calls(wire):
    wire.call("Invoke", **NAME, Payload=b"{}", InvocationType="DryRun")
    # A dry run has no content, and the model has one code per operation.
    assert wire.answers.pop()[1] == 204
    wire.call("Invoke", **NAME, Payload=b'{"a": 1}', LogType="Tail")
    wire.call("Invoke", **NAME, Payload=b"{}", Qualifier="live")
    events = wire.call("InvokeWithResponseStream", **NAME, Payload=b'{"a": 1}').get("EventStream", [])
    assert b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e) == b'{"a": 1}'


def events(wire):
    wire.call("Invoke", **NAME, Payload=b'{"a": 1}', InvocationType="Event")
    # Accepted has no content either, and no version.
    assert wire.answers.pop()[1] == 202
    wire.call("InvokeAsync", **NAME, InvokeArgs=b'{"a": 1}')
    wire.call("PutFunctionEventInvokeConfig", **NAME, MaximumRetryAttempts=1)
    wire.call("UpdateFunctionEventInvokeConfig", **NAME, MaximumEventAgeInSeconds=60)
    shown = wire.call("GetFunctionEventInvokeConfig", **NAME)
    assert (shown.get("MaximumRetryAttempts"), shown.get("MaximumEventAgeInSeconds")) == (1, 60), shown
    wire.call("ListFunctionEventInvokeConfigs", **NAME)
    wire.call("DeleteFunctionEventInvokeConfig", **NAME)


def sources(wire):
    call, arn = wire.call, "arn:aws:{}:us-east-1:000000000000:{}".format
    filters = {"Filters": [{"Pattern": json.dumps({"body": {"a": [1]}})}]}
    queue = call("CreateEventSourceMapping", **NAME, EventSourceArn=arn("sqs", "q"), BatchSize=20, MaximumBatchingWindowInSeconds=1,
                 FilterCriteria=filters, ScalingConfig={"MaximumConcurrency": 2}, FunctionResponseTypes=["ReportBatchItemFailures"],
                 Tags={"k": "v"})
    call("CreateEventSourceMapping", FunctionName="f:live", EventSourceArn=arn("kinesis", "stream/s"), StartingPosition="AT_TIMESTAMP",
         StartingPositionTimestamp=1700000000, ParallelizationFactor=2, BisectBatchOnFunctionError=True, MaximumRecordAgeInSeconds=60,
         DestinationConfig={"OnFailure": {"Destination": arn("sqs", "dead")}}, Enabled=False)
    call("CreateEventSourceMapping", **NAME, SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:9092"]}}, Topics=["t0"],
         StartingPosition="LATEST", SourceAccessConfigurations=[{"Type": "BASIC_AUTH", "URI": "secret"}])
    assert len(call("ListEventSourceMappings")["EventSourceMappings"]) == 3
    assert len(call("ListEventSourceMappings", **NAME, MaxItems=1)["EventSourceMappings"]) == 1
    assert call("ListTags", Resource=queue["EventSourceMappingArn"])["Tags"] == {"k": "v"}
    call("UpdateEventSourceMapping", UUID=queue["UUID"], Enabled=False, BatchSize=10, FilterCriteria={})
    shown = call("GetEventSourceMapping", UUID=queue["UUID"])
    assert shown["BatchSize"] == 10 and "Filters" not in shown["FilterCriteria"], shown
    for mapping in call("ListEventSourceMappings")["EventSourceMappings"]:
        call("DeleteEventSourceMapping", UUID=mapping["UUID"])


def logs(wire, lam):
    group = "/aws/lambda/f"
    call = wire.call
    # What a call logged arrives after its answer.
    while not call("FilterLogEvents", logGroupName=group, filterPattern='"seen by"').get("events"):
        time.sleep(0.05)
    call("DescribeLogGroups")
    stream = call("DescribeLogStreams", logGroupName=group)["logStreams"][0]["logStreamName"]
    call("GetLogEvents", logGroupName=group, logStreamName=stream, startFromHead=True)
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}"
    call("PutRetentionPolicy", logGroupName=group, retentionInDays=7)
    call("DescribeLogGroups", logGroupNamePrefix=group)
    call("DeleteRetentionPolicy", logGroupName=group)
    own = {"logGroupName": "/own/group"}
    call("CreateLogGroup", **own, tags={"k": "v"})
    call("CreateLogStream", **own, logStreamName="s/1")
    call("DescribeLogStreams", **own)
    now = int(time.time() * 1000)
    call("PutLogEvents", **own, logStreamName="s/1", logEvents=[{"timestamp": now - 20 * 86_400_000, "message": "too old"}])
    call("PutLogEvents", **own, logStreamName="s/1", logEvents=[{"timestamp": now, "message": "kept"}])
    call("GetLogEvents", **own, logStreamName="s/1")
    call("TagLogGroup", **own, tags={"a": "b"})
    call("UntagLogGroup", **own, tags=["a"])
    own_arn = "arn:aws:logs:us-east-1:000000000000:log-group:/own/group"
    call("TagResource", resourceArn=own_arn, tags={"c": "d"})
    call("UntagResource", resourceArn=own_arn, tagKeys=["c"])
    call("ListTagsForResource", resourceArn=own_arn)
    call("ListTagsLogGroup", logGroupName=group)
    call("DeleteLogStream", **own, logStreamName="s/1")
    call("DeleteLogGroup", **own)
    for event in call("StartLiveTail", logGroupIdentifiers=[arn])["responseStream"]:
        if "sessionStart" in event:
            lam.call("Invoke", **NAME, Payload=b"{}")
        if event.get("sessionUpdate", {}).get("sessionResults"):
            break


def roles(wire):
    role = {"RoleName": "r"}
    wire.call("CreateRole", **role, Description="d&d", Path="/p/", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "k", "Value": "v"}])
    wire.call("GetRole", **role)
    wire.call("ListRoles")
    wire.call("PutRolePolicy", **role, PolicyName="p", PolicyDocument=RIGHTS)
    wire.call("GetRolePolicy", **role, PolicyName="p")
    wire.call("ListRolePolicies", **role)
    wire.call("ListAttachedRolePolicies", **role)
    wire.call("UpdateRole", **role, MaxSessionDuration=7200)
    wire.call("UpdateRoleDescription", **role, Description="e")
    wire.call("UpdateAssumeRolePolicy", **role, PolicyDocument=ANYBODY)
    wire.call("TagRole", **role, Tags=[{"Key": "l", "Value": "w"}])
    wire.call("ListRoleTags", **role)
    wire.call("UntagRole", **role, TagKeys=["l"])


def managed(wire):
    policy = wire.call("CreatePolicy", PolicyName="m", Path="/p/", Description="d", PolicyDocument=RIGHTS, Tags=[{"Key": "k", "Value": "v"}])
    arn = {"PolicyArn": policy["Policy"]["Arn"]}
    wire.call("CreatePolicyVersion", **arn, PolicyDocument=RIGHTS, SetAsDefault=True)
    wire.call("SetDefaultPolicyVersion", **arn, VersionId="v1")
    wire.call("GetPolicyVersion", **arn, VersionId="v2")
    wire.call("ListPolicyVersions", **arn)
    wire.call("DeletePolicyVersion", **arn, VersionId="v2")
    wire.call("GetPolicy", **arn)
    wire.call("ListPolicies")
    for kind in ("Role", "User"):
        who = {f"{kind}Name": kind[0].lower()}
        wire.call(f"Attach{kind}Policy", **who, **arn)
        wire.call(f"ListAttached{kind}Policies", **who)
        wire.call(f"Put{kind}PermissionsBoundary", **who, PermissionsBoundary=arn["PolicyArn"])
        wire.call(f"Get{kind}", **who)
    wire.call("ListEntitiesForPolicy", **arn)
    for kind in ("Role", "User"):
        who = {f"{kind}Name": kind[0].lower()}
        wire.call(f"Delete{kind}PermissionsBoundary", **who)
        wire.call(f"Detach{kind}Policy", **who, **arn)
    wire.call("DeletePolicy", **arn)


def users(wire):
    user = {"UserName": "u"}
    wire.call("CreateUser", **user, Path="/p/", Tags=[{"Key": "k", "Value": "v"}])
    wire.call("GetUser")
    wire.call("ListUsers")
    wire.call("UpdateUser", **user, NewPath="/q/")
    wire.call("PutUserPolicy", **user, PolicyName="p", PolicyDocument=RIGHTS)
    wire.call("GetUserPolicy", **user, PolicyName="p")
    wire.call("ListUserPolicies", **user)
    wire.call("DeleteUserPolicy", **user, PolicyName="p")
    wire.call("TagUser", **user, Tags=[{"Key": "l", "Value": "w"}])
    wire.call("ListUserTags", **user)
    wire.call("UntagUser", **user, TagKeys=["l"])
    key = {"AccessKeyId": wire.call("CreateAccessKey", **user)["AccessKey"]["AccessKeyId"]}
    wire.call("ListAccessKeys", **user)
    wire.call("UpdateAccessKey", **user, **key, Status="Inactive")
    wire.call("DeleteAccessKey", **user, **key)


def people(wire, sts):
    roles(wire)
    users(wire)
    managed(wire)
    wire.call("GetAccountSummary")
    arn = wire.call("GetRole", RoleName="r")["Role"]["Arn"]
    sts.call("AssumeRole", RoleArn=arn, RoleSessionName="s1", Policy=RIGHTS)
    sts.call("GetSessionToken")
    wire.call("DeleteRolePolicy", RoleName="r", PolicyName="p")
    wire.call("DeleteRole", RoleName="r")
    wire.call("DeleteUser", UserName="u")


def main():
    lam, log, sts, iam = (Wire(service) for service in model.SERVICES)
    functions(lam)
    versions(lam)
    layers(lam)
    urls(lam)
    signing(lam)
    calls(lam)
    events(lam)
    sources(lam)
    logs(log, lam)
    sts.call("GetCallerIdentity")
    people(iam, sts)
    lam.call("DeleteAlias", **NAME, Name="live")
    lam.call("DeleteFunction", **NAME)
    compared = sum(wire.check() for wire in (lam, log, sts, iam))
    model.close(f"{compared} answers compared")


main()
