package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"orders.example/sdk/go/pb"
)

// A gateway that a test writes: the stream Claim without orders. The conformance script has the cases with a real one.
type fakeGateway struct {
	streams chan *fakeStream
	refusal error
	url     string
}

type fakeStream struct {
	hello    *pb.ClaimHello
	token    []string
	requests chan *pb.ClaimRequest
	call     grpc.ServerStream
	end      chan struct{}
	jobs     uint64
	credits  uint32
}

const token = "00000000000000aa"

func startGateway(t *testing.T) *fakeGateway {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gateway := &fakeGateway{streams: make(chan *fakeStream, 16), url: "http://" + listener.Addr().String()}
	server := grpc.NewServer(grpc.UnknownServiceHandler(gateway.claim))
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return gateway
}

func (g *fakeGateway) claim(_ any, call grpc.ServerStream) error {
	if g.refusal != nil {
		return g.refusal
	}
	first := &pb.ClaimRequest{}
	if err := call.RecvMsg(first); err != nil {
		return err
	}
	header, _ := metadata.FromIncomingContext(call.Context())
	stream := &fakeStream{hello: first.GetHello(), token: header.Get("authorization"), call: call,
		requests: make(chan *pb.ClaimRequest, 1_000), end: make(chan struct{})}
	stream.send(&pb.ClaimResponse{Message: &pb.ClaimResponse_Welcome{
		Welcome: &pb.ClaimWelcome{LeaseMs: 3_000, HeartbeatIntervalMs: 1_000}}})
	g.streams <- stream
	go func() {
		for {
			request := &pb.ClaimRequest{}
			if call.RecvMsg(request) != nil {
				return
			}
			stream.requests <- request
		}
	}()
	select {
	case <-stream.end:
	case <-call.Context().Done():
	}
	return nil
}

func (s *fakeStream) send(response *pb.ClaimResponse) { _ = s.call.SendMsg(response) }

func (s *fakeStream) sendJob(id string, checkpoint *string) {
	s.jobs++
	order := &pb.Order{OrderId: id, Attempt: 1}
	job := &pb.Attempt{Order: order, LeaseToken: token, Checkpoint: checkpoint}
	s.send(&pb.ClaimResponse{Message: &pb.ClaimResponse_Jobs{
		Jobs: &pb.Jobs{Number: s.jobs, Jobs: []*pb.Attempt{job}}}})
}

// next returns the next message that matches.
func (s *fakeStream) next(t *testing.T, match func(*pb.ClaimRequest) bool) *pb.ClaimRequest {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case request := <-s.requests:
			s.credits += request.Credits
			if match(request) {
				return request
			}
		case <-deadline:
			t.Fatal("no message has arrived")
		}
	}
}

func (s *fakeStream) results(t *testing.T) *pb.Results {
	t.Helper()
	return s.next(t, func(r *pb.ClaimRequest) bool { return r.GetResults() != nil }).GetResults()
}

// record returns the next report, and confirms it.
func (s *fakeStream) record(t *testing.T) *pb.Report {
	t.Helper()
	results := s.results(t)
	s.send(&pb.ClaimResponse{Message: &pb.ClaimResponse_ResultsRecorded{
		ResultsRecorded: &pb.ResultsRecorded{Number: results.Number}}})
	return results.Reports[0]
}

// start runs a worker, and returns its first stream and a function that ends it.
func start(t *testing.T, worker Worker, handler Handler) (*fakeGateway, *fakeStream, func()) {
	t.Helper()
	gateway := startGateway(t)
	worker.URLs, worker.Grace = []string{gateway.url}, 200*time.Millisecond
	worker.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- worker.Run(ctx, handler) }()
	t.Cleanup(cancel)
	return gateway, gateway.stream(t), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (g *fakeGateway) stream(t *testing.T) *fakeStream {
	t.Helper()
	select {
	case stream := <-g.streams:
		return stream
	case <-time.After(10 * time.Second):
		t.Fatal("no stream was opened")
		return nil
	}
}

func TestHelloAndCredits(t *testing.T) {
	worker := Worker{Token: func() string { return "secret" }, Kinds: []string{"refund"}, Concurrency: 2, Name: "w"}
	_, stream, _ := start(t, worker, func(ctx context.Context, job *Job) (any, error) {
		<-ctx.Done()
		return nil, nil
	})
	hello := stream.hello
	found := fmt.Sprintf("%v %v %v %v %v", hello.Protocol, hello.WorkerId, hello.Slots, hello.Kinds, stream.token)
	if found != "1 w 2 [refund] [Bearer secret]" {
		t.Error(found)
	}
	stream.sendJob("a", nil)
	if r := stream.next(t, func(r *pb.ClaimRequest) bool { return r.Received > 0 }); r.Received != 1 || stream.credits != 2 {
		t.Error(r, stream.credits)
	}
}

func TestOutcomes(t *testing.T) {
	_, stream, stop := start(t, Worker{}, func(_ context.Context, job *Job) (any, error) {
		switch job.Order.OrderId {
		case "completed":
			return map[string]bool{"shipped": true}, nil
		case "retry":
			return nil, &Retry{Reason: "busy", After: 1_500 * time.Millisecond, ErrorClass: "busy"}
		case "failed":
			return nil, fmt.Errorf("card: %w", &Failed{Reason: "declined", ErrorClass: "card_declined"})
		case "error":
			return nil, errors.New("defect")
		}
		panic("defect")
	})
	defer stop()
	ms, result := uint64(1_500), `{"shipped":true}`
	panicked := "the handler panicked: defect"
	for id, expected := range map[string]*pb.Report{
		"completed": {Outcome: &pb.Report_Completed{Completed: &pb.Completed{Result: &result}}},
		"retry":     {Outcome: &pb.Report_Retry{Retry: &pb.Retry{Reason: "busy", AfterMs: &ms, ErrorClass: "busy"}}},
		"failed":    {Outcome: &pb.Report_Failed{Failed: &pb.Failed{Reason: "declined", ErrorClass: "card_declined"}}},
		"error":     {Outcome: &pb.Report_Retry{Retry: &pb.Retry{Reason: "defect", ErrorClass: "errors.errorString"}}},
		"panic":     {Outcome: &pb.Report_Retry{Retry: &pb.Retry{Reason: panicked, ErrorClass: "handler_panicked"}}},
	} {
		expected.Lease = &pb.Lease{OrderId: id, LeaseToken: token}
		stream.sendJob(id, nil)
		if report := stream.record(t); !proto.Equal(report, expected) {
			t.Errorf("%s: %v", id, report)
		}
	}
}

func TestResultsAreRepeatedOnTheNextStream(t *testing.T) {
	gateway, stream, stop := start(t, Worker{}, func(context.Context, *Job) (any, error) { return nil, nil })
	defer stop()
	stream.sendJob("a", nil)
	first := stream.results(t).Reports[0]
	close(stream.end)
	next := gateway.stream(t)
	if len(next.hello.Running) != 1 || !proto.Equal(next.record(t), first) {
		t.Error(next.hello)
	}
}

func TestASilentGatewayIsReplacedAndJobsContinue(t *testing.T) {
	finish := make(chan struct{})
	gateway, stream, stop := start(t, Worker{}, func(context.Context, *Job) (any, error) {
		<-finish
		return nil, nil
	})
	defer stop()
	stream.sendJob("a", nil)
	// It receives heartbeats and sends none.
	next := gateway.stream(t)
	if len(next.hello.Running) != 1 {
		t.Error(next.hello)
	}
	close(finish)
	if next.record(t).GetCompleted() == nil {
		t.Error("the job has not continued")
	}
}

func TestDrainOfTheGateway(t *testing.T) {
	gateway, stream, stop := start(t, Worker{}, func(context.Context, *Job) (any, error) { return nil, nil })
	defer stop()
	stream.send(&pb.ClaimResponse{Message: &pb.ClaimResponse_Drain{Drain: &pb.Drain{}}})
	next := gateway.stream(t)
	next.sendJob("a", nil)
	if next.record(t).GetCompleted() == nil {
		t.Error("the order is not completed")
	}
}

func TestACancelledJobStopsItsHandlerAndFreesItsSlot(t *testing.T) {
	stopped := make(chan error, 1)
	_, stream, stop := start(t, Worker{Concurrency: 1}, func(ctx context.Context, job *Job) (any, error) {
		if job.Order.OrderId == "a" {
			stopped <- job.SaveCheckpoint(1)
		}
		return nil, nil
	})
	defer stop()
	stream.sendJob("a", nil)
	stream.next(t, func(r *pb.ClaimRequest) bool { return r.GetCheckpoint() != nil })
	stream.send(&pb.ClaimResponse{Message: &pb.ClaimResponse_Cancel{
		Cancel: &pb.Cancel{Leases: []*pb.Lease{{OrderId: "a", LeaseToken: token}}}}})
	if err := <-stopped; !errors.Is(err, ErrLeaseLost) {
		t.Error(err)
	}
	stream.sendJob("b", nil)
	if report := stream.record(t); report.Lease.OrderId != "b" {
		t.Error(report)
	}
}

func TestCheckpointAndProgress(t *testing.T) {
	gateway, stream, stop := start(t, Worker{}, func(_ context.Context, job *Job) (any, error) {
		job.Progress(40, "packing")
		return job.Checkpoint, job.SaveCheckpoint("next")
	})
	defer stop()
	saved := `{"step":1}`
	stream.sendJob("a", &saved)
	progress := stream.next(t, func(r *pb.ClaimRequest) bool { return r.GetProgress() != nil }).GetProgress()
	if progress.GetPercent() != 40 || progress.Note != "packing" || progress.Lease.OrderId != "a" {
		t.Error(progress)
	}
	isCheckpoint := func(r *pb.ClaimRequest) bool { return r.GetCheckpoint() != nil }
	checkpoint := stream.next(t, isCheckpoint).GetCheckpoint()
	// Its response is lost with the stream.
	close(stream.end)
	stream = gateway.stream(t)
	if again := stream.next(t, isCheckpoint).GetCheckpoint(); checkpoint.Json != `"next"` || !proto.Equal(again, checkpoint) {
		t.Error(checkpoint, again)
	}
	stream.send(&pb.ClaimResponse{Message: &pb.ClaimResponse_CheckpointRecorded{
		CheckpointRecorded: &pb.CheckpointRecorded{Number: checkpoint.Number}}})
	if report := stream.record(t); report.GetCompleted().GetResult() != saved {
		t.Error(report)
	}
}

func TestTheShutdownReleasesWhatExceedsTheGraceTime(t *testing.T) {
	_, stream, stop := start(t, Worker{}, func(ctx context.Context, job *Job) (any, error) {
		<-ctx.Done()
		return nil, nil
	})
	stream.sendJob("a", nil)
	stream.next(t, func(r *pb.ClaimRequest) bool { return r.Received > 0 })
	ended := make(chan struct{})
	go func() {
		stop()
		close(ended)
	}()
	stream.next(t, func(r *pb.ClaimRequest) bool { return r.GetDrain() != nil })
	stream.sendJob("late", nil)
	// Without a confirmation the late one returns to the queue.
	if report := stream.record(t); report.Lease.OrderId != "a" || report.GetReleased() == nil {
		t.Error(report)
	}
	<-ended
}

func TestARefusedWorkerEnds(t *testing.T) {
	gateway := startGateway(t)
	gateway.refusal = status.Error(codes.Unauthenticated, "no")
	err := Worker{URLs: []string{gateway.url}}.Run(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "Unauthenticated: no") {
		t.Error(err)
	}
}

func TestClient(t *testing.T) {
	type exchange struct {
		status int
		header http.Header
		body   string
	}
	follow := func(sequences ...int) string {
		text := ""
		for _, n := range sequences {
			status := map[bool]string{true: "completed", false: "processing"}[n == 3]
			text += fmt.Sprintf("id: %d\ndata: {\"sequence\":%d,\"status\":%q}\n\n", n, n, status)
		}
		return text
	}
	responses := []exchange{
		{503, http.Header{"Retry-After": {"0"}}, `{"code":"overloaded"}`},
		{201, nil, `{"id":"a","total":25.00,"metadata":{"channel":"web"}}`},
		{404, nil, `{"code":"order_not_found","detail":"no order"}`},
		{200, http.Header{"Link": {`</orders?after=x>; rel="next"`}}, `[{"id":"a"}]`},
		{200, nil, `[{"id":"b"}]`},
		{200, nil, follow(1, 2)},
		{200, nil, follow(3)},
		{200, nil, `{"status":"cancelled"}`},
	}
	var requests []*http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r)
		next := responses[0]
		responses = responses[1:]
		for name, values := range next.header {
			w.Header()[name] = values
		}
		w.WriteHeader(next.status)
		_, _ = io.WriteString(w, next.body)
	}))
	defer server.Close()
	client, ctx := &Client{URLs: []string{server.URL}, Token: "secret"}, context.Background()
	order, err := client.Create(ctx, map[string]any{"item": "Vase", "quantity": 1, "price": 25}, "")
	if err != nil || order.ID != "a" || order.Total != "25.00" {
		t.Error(order, err)
	}
	key := func(i int) string { return requests[i].Header.Get("Idempotency-Key") }
	if key(0) == "" || key(0) != key(1) || requests[0].Header.Get("Authorization") != "Bearer secret" {
		t.Error("the key of the repeated create")
	}
	var problem *APIError
	if _, err := client.Get(ctx, "a"); !errors.As(err, &problem) || err.Error() != "404 order_not_found: no order" {
		t.Error(err)
	}
	var found []string
	for order, err := range client.List(ctx, url.Values{"status": {"failed"}}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, order.ID)
	}
	for event, err := range client.Follow(ctx, "a", 0) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, fmt.Sprint(event.Sequence))
	}
	if !slices.Equal(found, []string{"a", "b", "1", "2", "3"}) || requests[6].Header.Get("Last-Event-Id") != "2" {
		t.Error(found)
	}
	if order, err := client.Cancel(ctx, "a", "twice"); err != nil || order.Status != "cancelled" {
		t.Error(order, err)
	}
}
