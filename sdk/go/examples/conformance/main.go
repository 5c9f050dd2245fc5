// The worker under test of sdk/conformance: the order states how it behaves.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	orders "orders.example/sdk/go"
)

func handle(ctx context.Context, job *orders.Job) (any, error) {
	say := func(what string) { fmt.Println(what, job.Order.OrderId, job.Attempt) }
	say("started")
	first := job.Attempt == 1
	ms, _ := strconv.Atoi(job.Order.Metadata["ms"])
	var result any
	switch behaviour := job.Order.Metadata["behaviour"]; {
	case behaviour == "retry" && first:
		return nil, &orders.Retry{Reason: "try again", ErrorClass: "flaky"}
	case behaviour == "retry-after" && first:
		return nil, &orders.Retry{Reason: "busy", After: 200 * time.Millisecond}
	case behaviour == "error" && first:
		return nil, errors.New("a defect")
	case behaviour == "fail":
		return nil, &orders.Failed{Reason: "declined", ErrorClass: "card_declined"}
	case behaviour == "slow-first" && !first:
		ms = 0
	case behaviour == "result":
		result = struct {
			Item    string `json:"item"`
			Attempt int    `json:"attempt"`
		}{job.Order.LineItems[0].Item, job.Attempt}
	case behaviour == "progress":
		job.Progress(40, "packing")
	case behaviour == "checkpoint" && first:
		if err := job.SaveCheckpoint(map[string]int{"step": 1}); err != nil {
			return nil, err
		}
		say("saved")
		ms = 60_000
	case behaviour == "checkpoint":
		result = map[string]any{"resumed": job.Checkpoint}
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-ctx.Done():
		say("stopped")
		return nil, context.Cause(ctx)
	}
	say("ended")
	return result, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	concurrency, _ := strconv.Atoi(os.Getenv("ORDERS_CONCURRENCY"))
	grace, _ := strconv.ParseFloat(os.Getenv("ORDERS_GRACE"), 64)
	worker := orders.Worker{
		Name:        os.Getenv("ORDERS_WORKER_ID"),
		Concurrency: concurrency,
		Grace:       time.Duration(grace * float64(time.Second)),
	}
	if kinds := os.Getenv("ORDERS_KINDS"); kinds != "" {
		worker.Kinds = strings.Split(kinds, ",")
	}
	if err := worker.Run(ctx, handle); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
