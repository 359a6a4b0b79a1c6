"""The methods of the worker protocol: their paths and messages.

Methods are called and served by path, so no service descriptor is registered that another SDK in the same process
could register too.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

SERVICE = "TaskHubSidecarService"
# What the engine of this package offers beyond the protocol; other workers never notice that it is there.
EXTENSIONS = "dapr_workflow_sdk.EngineExtensions"


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: Its name in the service.
        request: Type of the request.
        response: Type of the response, or of each of them.
        service: The service that has it.
    """

    name: str
    request: type[Message]
    response: type[Message]
    service: str = SERVICE

    @property
    def path(self) -> str:
        """What a call names."""
        return f"/{self.service}/{self.name}"


HELLO = Method("Hello", Empty, Empty)
START = Method("StartInstance", pb.CreateInstanceRequest, pb.CreateInstanceResponse)
GET = Method("GetInstance", pb.GetInstanceRequest, pb.GetInstanceResponse)
WAIT_START = Method("WaitForInstanceStart", pb.GetInstanceRequest, pb.GetInstanceResponse)
WAIT_COMPLETION = Method("WaitForInstanceCompletion", pb.GetInstanceRequest, pb.GetInstanceResponse)
RAISE_EVENT = Method("RaiseEvent", pb.RaiseEventRequest, pb.RaiseEventResponse)
TERMINATE = Method("TerminateInstance", pb.TerminateRequest, pb.TerminateResponse)
SUSPEND = Method("SuspendInstance", pb.SuspendRequest, pb.SuspendResponse)
RESUME = Method("ResumeInstance", pb.ResumeRequest, pb.ResumeResponse)
PURGE = Method("PurgeInstances", pb.PurgeInstancesRequest, pb.PurgeInstancesResponse)
GET_WORK_ITEMS = Method("GetWorkItems", pb.GetWorkItemsRequest, pb.WorkItem)
COMPLETE_ACTIVITY = Method("CompleteActivityTask", pb.ActivityResponse, pb.CompleteTaskResponse)
# The older name of the two, which every task hub of every age serves.
COMPLETE_TURN = Method("CompleteOrchestratorTask", pb.WorkflowResponse, pb.CompleteTaskResponse)
COMPLETE_TURN_NEW = Method("CompleteWorkflowTask", pb.WorkflowResponse, pb.CompleteTaskResponse)
HISTORY = Method("GetInstanceHistory", pb.GetInstanceHistoryRequest, pb.GetInstanceHistoryResponse)
LIST_IDS = Method("ListInstanceIDs", pb.ListInstanceIDsRequest, pb.ListInstanceIDsResponse)
RERUN = Method("RerunWorkflowFromEvent", pb.RerunWorkflowFromEventRequest, pb.RerunWorkflowFromEventResponse)
ABANDON_ACTIVITY = Method("AbandonTaskActivityWorkItem", pb.AbandonActivityTaskRequest, pb.AbandonActivityTaskResponse)
ABANDON_TURN = Method("AbandonTaskOrchestratorWorkItem", pb.AbandonWorkflowTaskRequest, pb.AbandonWorkflowTaskResponse)

DESCRIBE = Method("Describe", pb.DescribeEngineRequest, pb.DescribeEngineResponse, EXTENSIONS)
LIST_INSTANCES = Method("ListInstances", pb.ListInstancesRequest, pb.ListInstancesResponse, EXTENSIONS)
LIST_WORKERS = Method("ListWorkers", pb.ListWorkersRequest, pb.ListWorkersResponse, EXTENSIONS)
HEARTBEAT = Method("Heartbeat", pb.HeartbeatRequest, pb.HeartbeatResponse, EXTENSIONS)
NOTICES = Method("Notices", pb.NoticesRequest, pb.Notice, EXTENSIONS)
EXCHANGE = Method("Exchange", pb.WorkerMessage, pb.EngineMessage, EXTENSIONS)
