package orders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"orders.example/sdk/go/pb"
)

const (
	maxJSON   = 64 * 1024
	maxReason = 500
)

// ErrLeaseLost is the cause of a cancelled context: the order was cancelled, or another worker has it. The result of this
// attempt is refused.
var ErrLeaseLost = errors.New("the lease is lost")

// ErrShutdown is the cause of a context that ends with the worker, after its grace time.
var ErrShutdown = errors.New("the worker shuts down")

// A Handler processes an order. It returns the result, which can be nil: JSON of at most 64 KiB. The context ends when the
// handler has to stop. The error is a *Retry, a *Failed, or any other, which is a retry.
type Handler func(ctx context.Context, job *Job) (any, error)

// Retry is an attempt that failed: the gateway retries the order.
type Retry struct {
	Reason string
	// After is the delay that a called service asked for; the attempt then does not count as a failure.
	After      time.Duration
	ErrorClass string
}

func (r *Retry) Error() string { return r.Reason }

// Failed is an order that failed permanently.
type Failed struct {
	Reason     string
	ErrorClass string
}

func (f *Failed) Error() string { return f.Reason }

// A Job is one attempt of an order.
type Job struct {
	Order *pb.Order
	Lease *pb.Lease
	// Attempt is 1 for the first one.
	Attempt int
	// Checkpoint is what an earlier attempt saved last, or nil.
	Checkpoint  json.RawMessage
	Traceparent string

	ctx      context.Context
	cancel   context.CancelCauseFunc
	run      *run
	progress *pb.Progress
	waiting  bool
}

// Progress shows how far the attempt is: 0 to 100 percent, none if negative, and a note of at most 200 characters. It is
// not durable.
func (j *Job) Progress(percent int, note string) {
	progress := &pb.Progress{Lease: j.Lease, Note: truncate(note, 200)}
	if percent >= 0 {
		value := uint32(min(percent, 100))
		progress.Percent = &value
	}
	j.run.post(func() {
		j.progress = progress
		j.sendProgress()
	})
}

// sendProgress sends the latest progress, at most one in a second.
func (j *Job) sendProgress() {
	if j.waiting || j.progress == nil || j.ctx.Err() != nil {
		return
	}
	j.run.send(&pb.ClaimRequest{Message: &pb.ClaimRequest_Progress{Progress: j.progress}})
	j.progress, j.waiting = nil, true
	time.AfterFunc(time.Second, func() {
		j.run.post(func() {
			j.waiting = false
			j.sendProgress()
		})
	})
}

// SaveCheckpoint saves JSON of at most 64 KiB for the next attempt. It returns when the checkpoint is durable.
func (j *Job) SaveCheckpoint(value any) error {
	text, err := encode(value)
	if err != nil {
		return err
	}
	saved := make(chan error, 1)
	j.run.post(func() { j.run.save(j.Lease, string(text), saved) })
	select {
	case err := <-saved:
		return err
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	}
}

// outcome returns the report of a handler that has ended.
func outcome(lease *pb.Lease, result any, err error) *pb.Report {
	report := &pb.Report{Lease: lease}
	var text []byte
	if err == nil && result != nil {
		text, err = encode(result)
	}
	var retry *Retry
	var failed *Failed
	switch {
	case err == nil:
		completed := &pb.Completed{}
		if text != nil {
			json := string(text)
			completed.Result = &json
		}
		report.Outcome = &pb.Report_Completed{Completed: completed}
	case errors.As(err, &failed):
		message := &pb.Failed{Reason: truncate(failed.Reason, maxReason), ErrorClass: failed.ErrorClass}
		report.Outcome = &pb.Report_Failed{Failed: message}
	case errors.As(err, &retry):
		message := &pb.Retry{Reason: truncate(retry.Reason, maxReason), ErrorClass: retry.ErrorClass}
		if retry.After > 0 {
			ms := uint64(retry.After.Milliseconds())
			message.AfterMs = &ms
		}
		report.Outcome = &pb.Report_Retry{Retry: message}
	default:
		class := strings.TrimLeft(reflect.TypeOf(err).String(), "*")
		report.Outcome = &pb.Report_Retry{Retry: &pb.Retry{Reason: truncate(err.Error(), maxReason), ErrorClass: class}}
	}
	return report
}

// encode returns the JSON of a result or a checkpoint.
func encode(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		err = fmt.Errorf("the result or checkpoint is no JSON: %w", err)
	} else if len(text) > maxJSON {
		err = fmt.Errorf("the JSON of a result or a checkpoint is longer than %d bytes", maxJSON)
	}
	return text, err
}

// call runs a handler. A panic is an error.
func call(ctx context.Context, handler Handler, job *Job) (result any, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &Retry{Reason: fmt.Sprint("the handler panicked: ", cause), ErrorClass: "handler_panicked"}
		}
	}()
	return handler(ctx, job)
}

func truncate(text string, characters int) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), characters)])
}
