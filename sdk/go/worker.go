// Package orders contains workers and calls for the order processing system.
package orders

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"orders.example/sdk/go/pb"
)

const (
	maxBatch = 1_000
	// With results of the maximum size they fit into one message, which has at most 4 MiB.
	maxReports    = 50
	maxDelay      = 5 * time.Second
	reportTimeout = 5 * time.Second
)

// A Worker gets jobs from gateways over the stream Claim, runs a handler for each, and reports the outcomes.
type Worker struct {
	// URLs are gRPC addresses of the gateways, with http:// or https://; default: ORDERS_GATEWAY_URL, separated by commas.
	URLs []string
	// Token returns an API key or a token; default: the value of ORDERS_TOKEN.
	Token func() string
	// Kinds are the kinds of orders that the worker takes; without any: `default`. `*` is every kind.
	Kinds []string
	// Concurrency is the number of orders at the same time; default: 16.
	Concurrency int
	// Name is that of the worker in lists; default: host and process id.
	Name string
	// Grace is the time that running handlers have at the shutdown; then their orders are released. Default: 10 s.
	Grace time.Duration
	// RootCAs verify the certificates of gateways, in place of those of the system.
	RootCAs *x509.CertPool
	Logger  *slog.Logger
}

type key struct{ order, token string }

func keyOf(lease *pb.Lease) key { return key{lease.GetOrderId(), lease.GetLeaseToken()} }

type checkpoint struct {
	message *pb.Checkpoint
	saved   chan error
}

// The state of a running worker. Only its loop uses it; other goroutines post functions to the loop.
type run struct {
	Worker
	handler     Handler
	events      chan func()
	done        chan struct{}
	jobs        map[key]*Job
	running     int // handlers, also those that have lost their lease
	reports     []*pb.Report
	unanswered  map[uint64][]*pb.Report
	checkpoints map[uint64]checkpoint
	number      uint64
	stream      *stream
	connecting  bool
	stopping    bool
	err         error
}

// Run takes orders until the context ends. Then it waits for the handlers and returns nil. It returns an error if a gateway
// refuses the worker, for example because of its token.
func (w Worker) Run(ctx context.Context, handler Handler) error {
	host, _ := os.Hostname()
	if len(w.URLs) == 0 {
		w.URLs = strings.Split(cmp.Or(os.Getenv("ORDERS_GATEWAY_URL"), "http://127.0.0.1:50051"), ",")
	}
	for _, url := range w.URLs {
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			return fmt.Errorf("the address of a gateway begins with http:// or https://, not %q", url)
		}
	}
	if w.Token == nil {
		w.Token = func() string { return os.Getenv("ORDERS_TOKEN") }
	}
	if w.Concurrency < 0 || w.Concurrency > maxBatch {
		return fmt.Errorf("the concurrency is 1 to %d, not %d", maxBatch, w.Concurrency)
	}
	w.Concurrency = cmp.Or(w.Concurrency, 16)
	w.Name = cmp.Or(w.Name, fmt.Sprintf("%s-%d", host, os.Getpid()))
	w.Grace = cmp.Or(w.Grace, 10*time.Second)
	w.Logger = cmp.Or(w.Logger, slog.Default())
	r := &run{Worker: w, handler: handler, events: make(chan func()), done: make(chan struct{})}
	r.jobs, r.unanswered, r.checkpoints = map[key]*Job{}, map[uint64][]*pb.Report{}, map[uint64]checkpoint{}
	return r.loop(ctx)
}

func (r *run) loop(ctx context.Context) error {
	defer close(r.done)
	r.connect(0)
	shutdown := ctx.Done()
	var grace, end <-chan time.Time
	for r.err == nil {
		select {
		case event := <-r.events:
			event()
		case <-shutdown:
			shutdown = nil
			r.stopping = true
			grace = time.After(r.Grace)
			r.send(&pb.ClaimRequest{Message: &pb.ClaimRequest_Drain{Drain: &pb.WorkerDrain{}}})
		case <-grace:
			for _, job := range r.jobs {
				r.abandon(job.Lease, ErrShutdown)
				r.report(&pb.Report{Lease: job.Lease, Outcome: &pb.Report_Released{Released: &pb.Released{}}})
			}
		case <-end:
			r.Logger.Warn("no response to the last results, the orders are retried after their leases expire")
			r.reports, r.unanswered = nil, map[uint64][]*pb.Report{}
		}
		r.flush()
		if r.stopping && len(r.jobs) == 0 {
			if len(r.reports)+len(r.unanswered) == 0 {
				break
			}
			if end == nil {
				end = time.After(reportTimeout)
			}
		}
	}
	for _, job := range r.jobs {
		job.cancel(ErrShutdown)
	}
	if r.stream != nil {
		r.stream.close()
	}
	return r.err
}

// post runs a function in the loop, and returns false if the loop has ended.
func (r *run) post(event func()) bool {
	select {
	case r.events <- event:
		return true
	case <-r.done:
		return false
	}
}

// connect opens a stream after a delay, to one gateway after the other. The present one is used until then.
func (r *run) connect(delay time.Duration) {
	if r.connecting {
		return
	}
	r.connecting = true
	host, _ := os.Hostname()
	hello := &pb.ClaimHello{Protocol: 1, WorkerId: r.Name, Version: runtime.Version(), Host: host,
		Slots: uint32(r.Concurrency), Kinds: r.Kinds}
	for _, job := range r.jobs {
		hello.Running = append(hello.Running, job.Lease)
	}
	for _, reports := range r.unanswered {
		for _, report := range reports {
			hello.Running = append(hello.Running, report.Lease)
		}
	}
	for _, report := range r.reports {
		hello.Running = append(hello.Running, report.Lease)
	}
	hello.Running = hello.Running[:min(len(hello.Running), maxBatch)]
	go func() {
		for i := rand.IntN(len(r.URLs)); ; i++ {
			select {
			case <-time.After(delay/2 + rand.N(delay/2+1)):
			case <-r.done:
				return
			}
			delay = min(max(2*delay, 100*time.Millisecond), maxDelay)
			url := strings.TrimSpace(r.URLs[i%len(r.URLs)])
			stream, lost, err := open(url, r.Token(), r.RootCAs, hello)
			if err == nil {
				if !r.post(func() { r.resume(stream, lost, delay) }) {
					stream.close()
				}
				return
			}
			if fatal(err) {
				reason := status.Convert(err)
				err = fmt.Errorf("%s refuses the worker: %s: %s", url, reason.Code(), reason.Message())
				if reason.Code() == codes.Unimplemented {
					err = fmt.Errorf("%w (a worker needs the gRPC address of a gateway, port 50051 by default)", err)
				}
				r.post(func() { r.err = err })
				return
			}
			r.Logger.Warn("no stream to a gateway", "url", url, "error", err)
		}
	}()
}

// resume continues with a new stream.
func (r *run) resume(s *stream, lost []*pb.Refused, delay time.Duration) {
	if r.stream != nil {
		r.stream.close()
	}
	r.stream, r.connecting = s, false
	r.Logger.Info("connected to a gateway", "url", s.url, "kinds", cmp.Or(strings.Join(r.Kinds, ","), "default"))
	for _, refused := range lost {
		r.abandon(refused.Lease, fmt.Errorf("%w: %s", ErrLeaseLost, refused.Reason))
	}
	for _, reports := range r.unanswered {
		r.reports = append(r.reports, reports...)
	}
	clear(r.unanswered)
	for _, checkpoint := range r.checkpoints {
		r.send(&pb.ClaimRequest{Message: &pb.ClaimRequest_Checkpoint{Checkpoint: checkpoint.message}})
	}
	first := &pb.ClaimRequest{}
	if r.stopping {
		first.Message = &pb.ClaimRequest_Drain{Drain: &pb.WorkerDrain{}}
	}
	r.send(first)
	began := time.Now()
	go func() {
		err := s.read(func(response *pb.ClaimResponse) { r.post(func() { r.receive(s, response) }) })
		r.post(func() {
			if r.stream != s {
				return
			}
			r.Logger.Warn("stream to a gateway lost", "url", s.url, "error", err)
			s.close()
			r.stream = nil
			// A gateway that ends each stream at once is not tried in a busy loop.
			if time.Since(began) > time.Second {
				delay = 0
			}
			r.connect(delay)
		})
	}()
	go func() {
		for range time.Tick(s.interval) {
			if s.ctx.Err() != nil {
				return
			}
			r.post(func() { r.sendTo(s, &pb.ClaimRequest{Message: &pb.ClaimRequest_Heartbeat{}}, nil) })
		}
	}()
}

func (r *run) receive(s *stream, response *pb.ClaimResponse) {
	switch message := response.Message.(type) {
	case *pb.ClaimResponse_Jobs:
		// Without a confirmation they return to the queue.
		if r.stopping {
			return
		}
		s.received = message.Jobs.Number
		s.granted -= len(message.Jobs.Jobs)
		confirmed := make(chan struct{})
		for _, attempt := range message.Jobs.Jobs {
			r.start(attempt, s, confirmed)
		}
		r.sendTo(s, &pb.ClaimRequest{}, func() { close(confirmed) })
	case *pb.ClaimResponse_ResultsRecorded:
		delete(r.unanswered, message.ResultsRecorded.Number)
		for _, refused := range message.ResultsRecorded.Refused {
			r.Logger.Warn("result refused", "order", refused.Lease.GetOrderId(), "reason", refused.Reason)
		}
	case *pb.ClaimResponse_CheckpointRecorded:
		recorded := message.CheckpointRecorded
		if checkpoint, ok := r.checkpoints[recorded.Number]; ok {
			delete(r.checkpoints, recorded.Number)
			if recorded.Refused != nil {
				checkpoint.saved <- fmt.Errorf("the checkpoint is refused: %s", recorded.Refused.Reason)
			}
			close(checkpoint.saved)
		}
	case *pb.ClaimResponse_Cancel:
		for _, lease := range message.Cancel.Leases {
			r.abandon(lease, fmt.Errorf("%w: the order was cancelled, or the lease has expired", ErrLeaseLost))
		}
	case *pb.ClaimResponse_Drain:
		s.draining = true
		r.connect(0)
	}
}

// send sends a message over the present stream.
func (r *run) send(message *pb.ClaimRequest) { r.sendTo(r.stream, message, nil) }

// sendTo sends a message with the confirmation and the credits that are due.
func (r *run) sendTo(s *stream, message *pb.ClaimRequest, sent func()) {
	if s == nil {
		return
	}
	waiting := len(r.reports)
	for _, reports := range r.unanswered {
		waiting += len(reports)
	}
	if s == r.stream && !s.draining && !r.stopping && waiting <= maxBatch {
		credits := max(r.Concurrency-r.running-s.granted, 0)
		s.granted += credits
		message.Credits = uint32(credits)
	}
	message.Received = s.received
	select {
	case s.outgoing <- outgoing{message, sent}:
	default:
		s.cancel(errors.New("the gateway does not read"))
	}
}

// flush sends the gathered reports.
func (r *run) flush() {
	for len(r.reports) > 0 && r.stream != nil {
		batch := r.reports[:min(len(r.reports), maxReports)]
		r.reports = r.reports[len(batch):]
		r.number++
		r.unanswered[r.number] = batch
		results := &pb.Results{Number: r.number, Reports: batch}
		r.send(&pb.ClaimRequest{Message: &pb.ClaimRequest_Results{Results: results}})
	}
}

func (r *run) report(report *pb.Report) { r.reports = append(r.reports, report) }

// start runs the handler of a job when the gateway knows that it has arrived: only then does the attempt count.
func (r *run) start(attempt *pb.Attempt, s *stream, confirmed <-chan struct{}) {
	lease := &pb.Lease{OrderId: attempt.Order.GetOrderId(), LeaseToken: attempt.LeaseToken}
	if r.jobs[keyOf(lease)] != nil {
		return
	}
	job := &Job{Order: attempt.Order, Lease: lease, Attempt: int(attempt.Order.GetAttempt()), run: r,
		Traceparent: attempt.GetTraceparent()}
	if attempt.Checkpoint != nil {
		job.Checkpoint = []byte(attempt.GetCheckpoint())
	}
	job.ctx, job.cancel = context.WithCancelCause(context.Background())
	r.jobs[keyOf(lease)] = job
	r.running++
	go func() {
		select {
		case <-confirmed:
		case <-s.ctx.Done():
		}
		var report *pb.Report
		if job.ctx.Err() == nil {
			result, err := call(job.ctx, r.handler, job)
			report = outcome(lease, result, err)
			if retry, failed := (*Retry)(nil), (*Failed)(nil); err != nil && job.ctx.Err() == nil && !errors.As(err, &retry) && !errors.As(err, &failed) {
				r.Logger.Error("the handler failed", "order", lease.OrderId, "attempt", job.Attempt, "error", err)
			}
		}
		r.post(func() {
			r.running--
			if r.jobs[keyOf(lease)] == job {
				delete(r.jobs, keyOf(lease))
				r.report(report)
			} else {
				r.send(&pb.ClaimRequest{})
			}
			job.cancel(nil)
		})
	}()
}

// abandon stops the handler of a job; its outcome is dropped.
func (r *run) abandon(lease *pb.Lease, cause error) {
	if job := r.jobs[keyOf(lease)]; job != nil {
		delete(r.jobs, keyOf(lease))
		job.cancel(cause)
	}
	for number, checkpoint := range r.checkpoints {
		if keyOf(checkpoint.message.Lease) == keyOf(lease) {
			delete(r.checkpoints, number)
		}
	}
}

func (r *run) save(lease *pb.Lease, text string, saved chan error) {
	if r.jobs[keyOf(lease)] == nil {
		saved <- ErrLeaseLost
		return
	}
	r.number++
	message := &pb.Checkpoint{Number: r.number, Lease: lease, Json: text}
	r.checkpoints[r.number] = checkpoint{message, saved}
	r.send(&pb.ClaimRequest{Message: &pb.ClaimRequest_Checkpoint{Checkpoint: message}})
}
